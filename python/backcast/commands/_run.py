"""Runs a command over files: parts written as a whole, in several processes, resumable."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Any

from backcast._estimator.whole import replacing
from backcast._training.progress import bar
from backcast.commands._files import File, arrow, open_file, size_of
from backcast.commands._jobs import Embed, Forecast, Job, Options, Score, Task
from backcast.commands._plan import (
    PARTS,
    alone,
    begin,
    empty_mark,
    finished_mark,
    name_of,
    plan_of,
)
from backcast.errors import ArgumentError, DataError, OutOfMemoryError, ShapeError

JOBS: dict[str, type[Job]] = {"embed": Embed, "score": Score, "forecast": Forecast}
"""The commands."""


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
    files = [open_file(path, options.separator, options.decimal) for path in paths]
    # With several processes, this one only needs to know what the model looks like, and whether
    # there is a device of this name.
    on_cpu = processes > 1 and options.device == "auto"
    job = JOBS[command](options, device="cpu" if on_cpu else None)
    job.check(files)
    folder = Path(out)
    with alone(folder):
        begin(folder, plan_of(command, paths, options))
        _work(command, files, folder, options, job, processes, quiet, say)
    parts = sum(1 for _ in folder.glob(PARTS))
    if not parts:
        raise DataError(
            "files must hold a recording without a gap as long as a window, got none in "
            f"{', '.join(paths[:3])}{', ...' if len(paths) > 3 else ''}"
        )
    n = "1 part" if parts == 1 else f"{parts:,} parts"
    say(f"{n} in {out}: pandas.read_parquet({str(out)!r}) reads them as one table")


def _work(
    command: str,
    files: list[File],
    folder: Path,
    options: Options,
    job: Job,
    processes: int,
    quiet: bool,
    say: Callable[[str], None],
) -> None:
    """Write the parts that are missing."""
    paths = [file.path for file in files]
    sizes = [size_of(path) for path in paths]
    warned: set[str] = set()
    # Parts of each file that are being computed, and one for the file itself while it is read.
    open_parts = [1] * len(files)

    def done(i: int, messages: list[str]) -> None:
        for message in sorted({*messages} - warned):
            warned.add(message)
            say(f"warning: {paths[i]}: {message}")
        open_parts[i] -= 1
        if not open_parts[i]:
            finished_mark(folder, i).touch()

    with _computing(command, options, job, processes) as compute, _bar(sizes, quiet) as show:
        for i, (file, size) in enumerate(zip(files, sizes, strict=True)):
            before = sum(sizes[:i])
            if not finished_mark(folder, i).exists():
                for k, (position, task) in enumerate(job.tasks(file)):
                    place = folder / f"{name_of(i)}{k:05}.parquet"
                    if not place.exists() and not empty_mark(place).exists():
                        open_parts[i] += 1
                        compute(task, place, partial(done, i))
                    show(before + min(position, size))
                done(i, [])
            show(before + size)


# -- parts -----------------------------------------------------------------------------------------


def _write(result: Any, place: Path) -> None:
    """Write a part, completely or not at all."""
    if result is None:
        with replacing(empty_mark(place)):
            return
    pa, parquet = arrow(), arrow("pyarrow.parquet")
    table = pa.Table.from_pandas(result, preserve_index=False)
    with replacing(place) as file:
        parquet.write_table(table.replace_schema_metadata(None), file)


def _compute(job: Job, task: Task, place: Path) -> list[str]:
    """Compute and write a part; return the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = job.compute(task)
        except (ArgumentError, DataError, ShapeError) as error:
            raise type(error)(f"{task.place}: {error}") from error
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
    )
    pending: dict[Future[list[str]], Callable[[list[str]], None]] = {}

    def await_all_but(n: int) -> None:
        while len(pending) > n:
            for each in wait(pending, return_when=FIRST_COMPLETED).done:
                pending.pop(each)(each.result())

    def there(task: Any, place: Path, done: Callable[[list[str]], None]) -> None:
        pending[pool.submit(_in_worker, command, options, task, place)] = done
        # One part waits for each process; more would take memory.
        await_all_but(2 * processes - 1)

    try:
        yield there
        await_all_but(0)
    except BrokenProcessPool as error:
        raise OutOfMemoryError(
            "a worker process was killed, perhaps by the system for lack of memory: the same "
            "command goes on where it stopped, and takes less memory with fewer --processes"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


_JOB: Job | None = None


def _start_worker() -> None:
    """Let the parent process alone answer Ctrl-C, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        watch = threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True)
        watch.start()


def _end_with(sentinel: int) -> None:
    """End this process when its parent was killed."""
    wait_for([sentinel])
    os._exit(1)


def _in_worker(command: str, options: Options, task: Task, place: Path) -> list[str]:
    """Compute and write a part; the first one loads the model, so that its errors come back."""
    global _JOB
    if _JOB is None:
        _JOB = JOBS[command](options)
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
