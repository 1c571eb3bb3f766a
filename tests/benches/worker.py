"""Contestants in processes of their own, which the bench asks in turn.

No contestant's threads, memory, settings or failure change another's figures, and memory is
measured from outside. An idle process waits for its next order and costs nothing.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from problem import Problem
from sizes import Size


class Failed(Exception):
    """A contestant could not be started, or gave up."""


@dataclass(frozen=True)
class Answer:
    """What a method gave, and how long one call took, by the clock and of all cores together."""

    value: Any
    seconds: float
    cpu_seconds: float


class Worker:
    """A contestant in another process; `where` is "module:Class", made from problem and variant."""

    def __init__(
        self,
        where: str,
        problem: Problem,
        variant: str = "",
        environment: dict[str, str] | None = None,
    ) -> None:
        order = {"where": where, "problem": asdict(problem), "variant": variant}
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, __file__, json.dumps(order)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, **(environment or {})},
            text=True,
        )
        self._receive()

    def call(self, method: str, *, times: int = 1, **arguments: Any) -> Answer:
        """Call a method `times` times in a row; `value` is its last result."""
        return self._ask({"method": method, "arguments": arguments, "times": times})

    def array(self, method: str, **arguments: Any) -> NDArray[np.float32]:
        """Call a method that gives an array."""
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder, "array.npy"))
            self._ask({"method": method, "arguments": arguments, "times": 1, "path": path})
            return np.asarray(np.load(path), dtype=np.float32)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    @property
    def resident(self) -> int:
        """Bytes of main memory that the process holds now."""
        return self._memory("VmRSS")

    @property
    def peak(self) -> int:
        """Bytes of main memory that the process held at most, since `forget_peak` if that ran."""
        return self._memory("VmHWM")

    def forget_peak(self) -> None:
        """Begin `peak` anew."""
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")

    def _memory(self, field: str) -> int:
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == field:
                return int(value.split()[0]) * 1024
        raise KeyError(field)

    def _ask(self, request: dict[str, Any]) -> Answer:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._receive()

    def _receive(self) -> Answer:
        assert self._process.stdout
        line = self._process.stdout.readline()
        reply: dict[str, Any] = json.loads(line) if line else {"failed": self._last_words()}
        if "failed" in reply:
            self.close()
            raise Failed(reply["failed"])
        return Answer(reply["value"], reply["seconds"], reply["cpu_seconds"])

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return lines[-1] if lines else "the process ended without a word"


def serve(order: dict[str, Any]) -> None:
    """Make the contestant and do what the lines of standard input say, until they end."""
    # Libraries that print must not get into the replies.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def reply(**fields: Any) -> None:
        replies.write(json.dumps(fields) + "\n")
        replies.flush()

    try:
        module, _, name = order["where"].partition(":")
        problem = order["problem"] | {"size": Size(**order["problem"]["size"])}
        contestant = getattr(importlib.import_module(module), name)
        contestant = contestant(Problem(**problem), order["variant"])
        reply(value=None, seconds=0.0, cpu_seconds=0.0)
        for line in sys.stdin:
            request = json.loads(line)
            method, times = getattr(contestant, request["method"]), request["times"]
            start, cpu_start = perf_counter(), process_time()
            for _ in range(times):
                value = method(**request["arguments"])
            seconds = (perf_counter() - start) / times
            cpu_seconds = (process_time() - cpu_start) / times
            if "path" in request:
                np.save(request["path"], value)
            value = None if isinstance(value, np.ndarray) else value
            reply(value=value, seconds=seconds, cpu_seconds=cpu_seconds)
    except ModuleNotFoundError as error:
        reply(failed=f"{error.name} is not installed")
    except Exception as error:
        reply(failed=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))
