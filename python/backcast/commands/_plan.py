"""The folder of results: its plan, what was done by it, and marks of what is finished."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import Any

from backcast import __version__
from backcast._estimator.whole import replacing
from backcast.commands._files import size_of
from backcast.commands._jobs import Options
from backcast.errors import ArgumentError, BusyError, FileFormatError

# Options that change nothing in the results.
_FREE = ("device", "threads", "model", "future")
_PLAN = "_plan.json"
PARTS = "part-*.parquet"
"""Names of parts."""


def plan_of(command: str, paths: list[str], options: Options) -> dict[str, Any]:
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


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Make the folder, and keep other commands from it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise ArgumentError(f"out must be a folder, got the file {folder}") from None
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise BusyError(
            f"out must be in use by one command, got {folder}, which is in use"
        ) from None
    except OSError:
        pass  # a file system without locks
    try:
        yield
    finally:
        os.close(handle)


def begin(folder: Path, plan: dict[str, Any]) -> None:
    """Write the plan into the folder; the parts of the same one stay.

    Raises
    ------
    ArgumentError
        If it holds parts of another command, or other files.
    """
    place, saved = folder / _PLAN, plan
    if place.exists():
        saved = _read(place)
    elif any(not each.name.startswith(".") for each in folder.iterdir()):
        raise ArgumentError(
            f"out must be a new or an empty folder, or that of the same command, got {folder}, "
            "which has other files"
        )
    written = [part.name for part in folder.glob(PARTS)]
    files = list(zip_longest(saved["files"], plan["files"]))
    changed = {i for i, (before, now) in enumerate(files) if before != now}
    kept = [i for i in sorted(changed) if any(part.startswith(name_of(i)) for part in written)]
    differences = _differences(saved, plan)
    if written and differences:
        raise ArgumentError(
            f"out must be a new folder, or that of the same command, got {folder}, which has parts "
            f"with {', '.join(differences)}: choose another folder, or start anew after rm -r "
            f"{shlex.quote(str(folder))}"
        )
    if kept:
        before, now = files[kept[0]]
        change = (
            f"{before[0]}, which has changed"
            if now and before[0] == now[0]
            else (f"{before[0]} in the place of {now[0] if now else 'no file'}")
        )
        parts = f"{shlex.quote(str(folder))}/{name_of(kept[0])}*"
        raise ArgumentError(
            f"out must be a new folder, or that of the same files, got {folder}, which has parts "
            f"of {change}: choose another folder, or do this file anew after rm {parts}"
        )
    # Marks of another plan say nothing.
    for i in range(len(files)) if differences else changed:
        for mark in (finished_mark(folder, i), *folder.glob(f"_{name_of(i)}*.empty")):
            mark.unlink(missing_ok=True)
    with replacing(place) as file:
        file.write(json.dumps(plan, indent=1).encode())


def _differences(saved: dict[str, Any], plan: dict[str, Any]) -> list[str]:
    """Return what parts depend on and is another in two plans, but the files."""
    found = []
    for name in ("model", "future"):
        if saved[name] != plan[name]:
            found.append(f"another {name}")
    pairs = [(name, saved[name], plan[name]) for name in ("command", "version")]
    pairs += [(name, saved["options"].get(name), now) for name, now in plan["options"].items()]
    return found + [
        f"{name} {_short(before)} (now {_short(now)})"
        for name, before, now in pairs
        if before != now
    ]


def _read(place: Path) -> dict[str, Any]:
    try:
        saved: dict[str, Any] = json.loads(place.read_text())
        if {*saved} >= {"command", "files", "model", "future", "options", "version"}:
            return saved
    except (ValueError, TypeError):
        pass
    raise FileFormatError(
        f"{place}: is no plan of this command; remove it, or choose another folder"
    )


def _short(value: Any) -> str:
    if value is None or value == []:
        return "none"
    text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) < 60 else text[:57] + "..."


def name_of(i: int) -> str:
    """Return how the names of a file's parts begin."""
    return f"part-{i:05}-"


def finished_mark(folder: Path, i: int) -> Path:
    """Return the mark of a file of which all parts are written."""
    return folder / f"_file-{i:05}.finished"


def empty_mark(place: Path) -> Path:
    """Return the mark of a part without results, which readers of the folder ignore."""
    return place.with_name(f"_{place.stem}.empty")
