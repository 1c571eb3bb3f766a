"""Runs a command over files: parts written as a whole, in several processes, resumable."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Any

from backcast import __version__
from backcast._estimator.whole import replacing
from backcast._training.progress import bar
from backcast.commands._files import arrow, open_file, size_of
from backcast.commands._jobs import Embed, Forecast, Job, Options, Score
from backcast.errors import ArgumentError, DataError, OutOfMemoryError

JOBS: dict[str, type[Job]] = {"embed": Embed, "score": Score, "forecast": Forecast}
"""The commands."""

# Options that change nothing in the results.
_FREE = ("device", "threads", "model", "future")
_PLAN = "_plan.json"


def run(
    command: str,
    paths: list[str],
    out: str,
    options: Options,
    *,
    processes: int = 1,
    quiet: bool = False,
    say: Callable[[str], None] = print,
) -> None:
    """Run a command; what an interrupted run has finished is not done again.

    Parameters
    ----------
    command : {"embed", "score", "forecast"}
        The command.
    paths : list of str
        The files to read.
    out : str
        The folder to write to: one Parquet file for each part of a file, named in their order.
    options : Options
        The options.
    processes : int, default=1
        Number of processes that compute; one more reads.
    quiet : bool, default=False
        Whether to show no progress bar.
    say : callable, default=print
        Prints warnings and the last line.

    Raises
    ------
    ArgumentError, DataError, ShapeError, FileFormatError, FileNotFoundError
        If options, files or the model do not fit. Parts before the failure are kept.
    MissingPackageError
        If a package that reads or writes a file is missing.
    """
    arrow()
    files = [open_file(path, options.separator) for path in paths]
    # With several processes, this one only needs to know what the model looks like.
    job = JOBS[command](options, device="cpu" if processes > 1 else None)
    job.check(files)
    folder = Path(out)
    _begin(folder, _plan(command, paths, options))
    sizes = [size_of(path) for path in paths]
    warned: set[str] = set()
    # Parts of each file that are being computed, and one for the file itself while it is read.
    open_parts = [1] * len(files)

    def done(i: int, messages: list[str]) -> None:
        for message in sorted({*messages} - warned):
            warned.add(message)
            say(f"warning: {message}")
        open_parts[i] -= 1
        if not open_parts[i]:
            _finished(folder, i).touch()

    with _computing(command, options, job, processes) as compute, _bar(sizes, quiet) as show:
        for i, (file, size) in enumerate(zip(files, sizes, strict=True)):
            before = sum(sizes[:i])
            if not _finished(folder, i).exists():
                for k, (position, task) in enumerate(job.tasks(file)):
                    place = folder / f"part-{i:05}-{k:05}.parquet"
                    if not place.exists() and not _empty(place).exists():
                        open_parts[i] += 1
                        compute(task, place, partial(done, i))
                    show(before + min(position, size))
                done(i, [])
            show(before + size)
    parts = sum(1 for _ in folder.glob("part-*.parquet"))
    if not parts:
        raise DataError(
            "files must hold a recording without a gap as long as a window, got none in "
            f"{', '.join(paths[:3])}{', ...' if len(paths) > 3 else ''}"
        )
    n = "1 part" if parts == 1 else f"{parts:,} parts"
    say(f"{n} in {out}: pandas.read_parquet({str(out)!r}) reads them as one table")


# -- the plan and its parts ------------------------------------------------------------------------


def _plan(command: str, paths: list[str], options: Options) -> dict[str, Any]:
    """Return what the results depend on."""
    kept = {name: value for name, value in asdict(options).items() if name not in _FREE}
    stats = [os.stat(path) for path in paths]
    plan = {
        "command": command,
        "files": [[p, size_of(p), s.st_mtime_ns] for p, s in zip(paths, stats, strict=True)],
        "model": _digest(options.model),
        "future": options.future and _digest(options.future),
        "options": kept | {"gap": None if kept["gap"] is None else str(kept["gap"])},
        "version": __version__,
    }
    plain: dict[str, Any] = json.loads(json.dumps(plan))
    return plain


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _begin(folder: Path, plan: dict[str, Any]) -> None:
    """Make the folder, and write the plan there.

    Raises
    ------
    ArgumentError
        If it holds the results of another command, or other files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / _PLAN
    if not place.exists():
        if any(not each.name.startswith(".") for each in folder.iterdir()):
            raise ArgumentError(f"out must be a new or an empty folder, got {folder}, which is not")
        with replacing(place) as file:
            file.write(json.dumps(plan, indent=1).encode())
        return
    saved = json.loads(place.read_text())
    for name, value in plan.items():
        if saved.get(name) != value:
            before, now = saved.get(name), value
            if isinstance(value, dict):
                name = next(key for key in value if before.get(key) != value[key])
                before, now = before.get(name), value[name]
            raise ArgumentError(
                f"out must be a new folder, or that of the same command, got {folder}, which was "
                f"begun with another {name} ({_short(before)}, now {_short(now)}): choose another "
                "folder, or remove this one"
            )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) < 60 else text[:57] + "..."


def _finished(folder: Path, i: int) -> Path:
    """Return the mark of a file of which all parts are written."""
    return folder / f"_file-{i:05}.finished"


def _empty(place: Path) -> Path:
    """Return the mark of a part without results, which readers of the folder ignore."""
    return place.with_name(f"_{place.stem}.empty")


def _write(result: Any, place: Path) -> None:
    """Write a part, completely or not at all."""
    if result is None:
        with replacing(_empty(place)):
            return
    pa, parquet = arrow(), arrow("pyarrow.parquet")
    table = pa.Table.from_pandas(result, preserve_index=False)
    with replacing(place) as file:
        parquet.write_table(table.replace_schema_metadata(None), file)


def _compute(job: Job, task: Any, place: Path) -> list[str]:
    """Compute and write a part; return the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = job.compute(task)
    _write(result, place)
    return [str(each.message) for each in caught if issubclass(each.category, UserWarning)]


# -- processes -------------------------------------------------------------------------------------


# Takes a task, the place of its result, and what is called with its warnings when it is written.
Compute = Callable[[Any, Path, Callable[[list[str]], None]], None]


@contextmanager
def _computing(command: str, options: Options, job: Job, processes: int) -> Iterator[Compute]:
    """Give a function that computes and writes a part, at once or in the background."""
    if processes == 1:
        yield lambda task, place, done: done(_compute(job, task, place))
        return
    pool = ProcessPoolExecutor(
        processes,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(command, options),
    )
    pending: dict[Future[list[str]], Callable[[list[str]], None]] = {}

    def await_all_but(n: int) -> None:
        while len(pending) > n:
            for each in wait(pending, return_when=FIRST_COMPLETED).done:
                pending.pop(each)(each.result())

    def there(task: Any, place: Path, done: Callable[[list[str]], None]) -> None:
        pending[pool.submit(_in_worker, task, place)] = done
        # One part waits for each process; more would take memory.
        await_all_but(2 * processes - 1)

    try:
        yield there
        await_all_but(0)
    except BrokenProcessPool as error:
        raise OutOfMemoryError(
            "a worker process has ended, for the reason above or, without one, perhaps for lack of "
            "memory: the same command with fewer processes goes on where it stopped"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


_JOB: Job | None = None


def _start_worker(command: str, options: Options) -> None:
    """Load the model; the parent process alone answers Ctrl-C."""
    global _JOB
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        watch = threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True)
        watch.start()
    _JOB = JOBS[command](options)


def _end_with(sentinel: int) -> None:
    """End this process when its parent was killed."""
    wait_for([sentinel])
    os._exit(1)


def _in_worker(task: Any, place: Path) -> list[str]:
    assert _JOB is not None
    return _compute(_JOB, task, place)


@contextmanager
def _bar(sizes: list[int], quiet: bool) -> Iterator[Callable[[int], None]]:
    """Give a function that shows how many bytes of the files were read."""
    if quiet:
        yield lambda position: None
        return
    shown = bar(sum(sizes), unit="B", short=True)
    try:
        yield lambda position: shown.update(position - shown.n)
    finally:
        shown.close()
