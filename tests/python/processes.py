"""Processes that form a group of torch.distributed and run functions for a test; no ports."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple


class Raised(NamedTuple):
    """An exception in a process."""

    name: str
    message: str


class Processes:
    """Processes of one group, started once: the import of torch takes longer than many tests."""

    def __init__(self, size: int, folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.size = size
        self._ends, self._all = [], []
        for rank in range(size):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_serve, args=(rank, size, str(folder / "store"), theirs), daemon=True
            )
            process.start()
            theirs.close()
            self._ends.append(ours)
            self._all.append(process)

    def run(self, work: Callable[..., Any], *args: Any) -> list[Any]:
        """Call ``work(rank, *args)`` in all; return the results, or `Raised`, by rank."""
        for end in self._ends:
            end.send((work, args))
        return [self._result(end) for end in self._ends]

    def _result(self, end: Connection) -> Any:
        assert end.poll(60), "a process hangs"
        try:
            return end.recv()
        except EOFError:
            return Raised("Killed", "")

    def close(self) -> None:
        """End all."""
        for process in self._all:
            process.kill()
            process.join()


class Groups:
    """Groups of processes by their size, each started when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: dict[int, Processes] = {}

    def __getitem__(self, size: int) -> Processes:
        if size not in self._started:
            self._started[size] = Processes(size, Path(mkdtemp(dir=self._folder)))
        return self._started[size]

    def close(self, *sizes: int) -> None:
        """End these groups, or all."""
        for size in sizes or tuple(self._started):
            self._started.pop(size).close()


def _serve(rank: int, size: int, store: str, end: Connection) -> None:
    import torch.distributed as dist

    dist.init_process_group(
        "gloo",
        store=dist.FileStore(store, size),
        rank=rank,
        world_size=size,
        timeout=timedelta(seconds=30),
    )
    while True:
        work, args = end.recv()
        result: Any
        try:
            result = work(rank, *args)
        except BaseException as error:
            result = Raised(type(error).__name__, str(error))
        end.send(result)
