"""The options of `embed`, `score` and `forecast`."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from backcast.commands._files import KINDS
from backcast.commands._jobs import Options
from backcast.commands._run import run

_ALL = f"""\
Files are {KINDS}; they may be larger than memory. A table
of more than one part must have its rows in the order of group and time. The results are a folder of
Parquet files, which pandas, polars, DuckDB and Spark read as one table. An interrupted command goes
on where it stopped when it is given again."""

_EMBED = f"""\
Encode all windows of files by a Model: one row for each window, with the name of the file, the
number, recording and time of the window's last row, and the embedding (h0, h1, ...). Windows
without any known number are left out. An array of at least three dimensions holds windows; with
--past, it holds the frames of one recording.

{_ALL}"""

_SCORE = f"""\
Score all rows of files by an AnomalyDetector: one row for each, with the name of the file, the
number, recording and time of the row, its score, whether it is an outlier, and the scores of the
columns. Group, time and columns are those of the detector.

{_ALL}"""

_FORECAST = f"""\
Forecast the rows after each recording of files by a Forecaster: one row for each step, with the
name of the file, recording and time, the forecasts and their intervals. Group, time and columns
are those of the forecaster. Steps of time are those of the last 4,096 rows of a recording.

{_ALL}"""

# What each command's examples give, beside what they have in common.
_OWN_EXAMPLES = {
    "embed": """\
  windows of 48 rows of each machine, a window every 12 rows, none over a step of more than an hour:
    backcast embed archive/*.parquet --model model.safetensors --out results \\
        --past 48 --stride 12 --group machine --time time --gap 1h
  two columns of a table whose rows have no time; the mean over all frames of a window:
    backcast embed table.csv --model model.safetensors --out results \\
        --past 48 --columns speed heat --pooling mean
""",
    "score": """\
  all rows, by a detector that was fitted on such a table:
    backcast score archive/*.parquet --model detector.safetensors --out results
  by one that was fitted on an array, which takes columns by their places:
    backcast score table.csv --model detector.safetensors --out results --columns speed heat
  by one that was fitted on a table with machine and time as its index:
    backcast score table.csv --model detector.safetensors --out results \\
        --group machine --time time
""",
    "forecast": """\
  the rows to come, with intervals of 50 and 90 %:
    backcast forecast archive/*.parquet --model forecaster.safetensors --out results \\
        --interval 0.5 0.9
  with columns that are known in the future, as holidays:
    backcast forecast table.csv --model forecaster.safetensors --out results --future holidays.csv
  by a forecaster that was fitted on an array, and by one fitted on a table with an index:
    backcast forecast table.csv --model forecaster.safetensors --out results --columns speed heat
    backcast forecast table.csv --model forecaster.safetensors --out results \\
        --group machine --time time
""",
}

_START = {
    "embed": "embed table.csv --model model.safetensors --out results --past 48",
    "score": "score table.csv --model detector.safetensors --out results",
    "forecast": "forecast table.csv --model forecaster.safetensors --out results",
}

_EXAMPLES = """\
examples:
{own}\
  text with semicolons between columns and commas in numbers:
    backcast {start} \\
        --sep ';' --decimal ,
  two processes of one thread each, without a progress bar:
    backcast {start} \\
        --processes 2 --threads 1 --quiet
  a second GPU, and parts of 100,000 rows, which take less memory:
    backcast {start} \\
        --device cuda:1 --part-rows 100000"""


def add_to(commands: Any) -> None:
    """Add the commands to the parser of ``backcast``.

    Parameters
    ----------
    commands : object
        What `argparse.ArgumentParser.add_subparsers` returns.
    """
    embed = _add(commands, "embed", "encode files by a Model", _EMBED)
    embed("--past", type=_count, metavar="N", help="rows in a window")
    embed(
        "--stride",
        "--step",
        type=_count,
        default=1,
        metavar="N",
        help="rows from the start of a window to the start of the next (default: 1)",
    )
    embed("--gap", metavar="TIME", help="longest step of time within a window, as 90s or 2.5")
    embed("--pooling", choices=("last", "mean"), help="as the parameter (default: the model's)")
    _add(commands, "score", "score files by an AnomalyDetector", _SCORE)
    forecast = _add(commands, "forecast", "forecast files by a Forecaster", _FORECAST)
    forecast(
        "--interval",
        type=float,
        nargs="+",
        default=(),
        metavar="LEVEL",
        help="levels of prediction intervals, as 0.9",
    )
    forecast("--future", metavar="FILE", help="a table of the columns known in the future")


def _add(commands: Any, name: str, summary: str, description: str) -> Any:
    """Add a command with the options of all; return the function that adds more."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=_EXAMPLES.format(own=_OWN_EXAMPLES[name], start=_START[name]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=_run, name=name)
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE", help=KINDS)
    add("--model", required=True, metavar="FILE", help="what `save` has written")
    add("--out", required=True, metavar="FOLDER", help="where to write; new, or of an earlier run")
    add("--group", nargs="+", default=(), metavar="COLUMN", help="columns that name a recording")
    add("--time", metavar="COLUMN", help="the column of the times")
    add(
        "--columns",
        nargs="+",
        default=(),
        metavar="COLUMN",
        help="columns of the numbers (default: those of the model, or all)",
    )
    add(
        "--sep",
        type=_character,
        metavar="CHARACTER",
        help="what separates columns of text, as ';' or tab (default: a comma, in .tsv a tab)",
    )
    add(
        "--decimal",
        choices=(".", ","),
        default=".",
        metavar="CHARACTER",
        help="what a fraction begins with in text, . or , (default: .)",
    )
    add("--processes", type=_count, default=1, metavar="N", help="processes (default: 1)")
    add(
        "--threads",
        type=_count,
        metavar="N",
        help="threads of each (default: torch's; of several processes 1)",
    )
    add("--device", default="auto", help="auto (a GPU if there is one), cpu, cuda or cuda:1")
    add("--part-rows", type=_count, metavar="N", help="rows in a part (default: about 64 MB)")
    add("--quiet", action="store_true", help="show no progress bar")
    return add


def _run(arguments: argparse.Namespace) -> bool:
    given = vars(arguments)
    options = Options(
        model=arguments.model,
        device=arguments.device,
        threads=arguments.threads,
        past=given.get("past"),
        stride=given.get("stride", 1),
        pooling=given.get("pooling"),
        group=tuple(arguments.group),
        time=arguments.time,
        columns=tuple(arguments.columns),
        gap=_gap(given.get("gap")),
        interval=tuple(given.get("interval", ())),
        future=given.get("future"),
        separator=arguments.sep,
        decimal=arguments.decimal,
        part_rows=arguments.part_rows,
    )
    try:
        run(
            arguments.name,
            arguments.files,
            arguments.out,
            options,
            processes=arguments.processes,
            quiet=arguments.quiet,
            say=_say,
        )
    except KeyboardInterrupt:
        _say("the same command goes on where this one stopped")
        raise
    return False


def _say(text: str) -> None:
    print(f"backcast: {text}", file=sys.stderr)


def _gap(text: str | None) -> Any:
    """Return a number, where it is one, or a duration or a calendar as it was written."""
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        return text


def _character(text: str) -> str:
    found = "\t" if text in ("tab", r"\t") else text
    if len(found.encode()) != 1 or found in '"\r\n':
        raise argparse.ArgumentTypeError(f"must be one character, as ';', or tab, got {text!r}")
    return found


def _count(text: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)
