"""Processes that train one model together: those of a group of torch.distributed.

Every process calls the same methods here in the same order. Each method begins with a vote of the
engine (`src/train/group.rs`), as each of its updates does. A process that fails anywhere between
says so in the next vote and leaves; the others learn of it there and do not wait for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from backcast import _core
from backcast.errors import ArgumentError, GroupError

_T = TypeVar("_T")
_Callback = Callable[[dict[str, float]], object]

# Groups for agreement on the CPU, by the names of groups that cannot; each lives as long as the
# process, since a second one of the same ranks would find the addresses of the first.
_CONTROL: dict[str, Any] = {}


class Alone:
    """One process, which trains by itself."""

    rank, size = 0, 1
    # Whether all processes have the same windows.
    shared = True
    engine: _core.Group | None = None

    def all(self, value: _T) -> list[_T]:
        """Return the values of all processes."""
        return [value]

    def first(self, value: _T) -> _T:
        """Return the value of process 0."""
        return value

    def same(self, hint: str = "", **values: Any) -> None:
        """Refuse values that are not the same in all processes."""

    def callback(self, callback: _Callback | None) -> _Callback | None:
        """Return a callback that all processes call together; None if none has one."""
        return callback

    def device(self, device: str) -> str:
        """Return the device of this process's model."""
        return device


class Group(Alone):
    """The processes that train together, and the place of this one.

    Parameters
    ----------
    group : "world" or ProcessGroup
        The group.
    shared : bool
        Whether all processes have the same windows.

    Raises
    ------
    ArgumentError
        If it is no group of an initialised torch.distributed, or this process is not in it.
    """

    def __init__(self, group: Any, shared: bool) -> None:
        import torch.distributed as dist

        known = 'None, "world" or a torch.distributed.ProcessGroup'
        if not (dist.is_available() and dist.is_initialized()):
            raise ArgumentError(
                f"group must be {known} after torch.distributed.init_process_group(), got "
                f"{group!r} before"
            )
        if isinstance(group, str) and group == "world":
            group = dist.group.WORLD
        if not isinstance(group, dist.ProcessGroup):
            raise ArgumentError(f"group must be {known}, got {group!r}")
        self.rank, self.size = dist.get_rank(group), dist.get_world_size(group)
        if self.rank < 0:
            raise ArgumentError("group must be a group with this process, got one without it")
        self.shared = shared
        self._dist, self._control = dist, _control(dist, group)
        self._engine = _core.Group(group.group_name, self._control.group_name, self.rank, self.size)
        self.engine = self._engine

    @contextmanager
    def agreed(self) -> Iterator[None]:
        """Tell the others how this block ends: all complete it, or none goes on."""
        try:
            yield
        except BaseException as error:
            self._engine.leave(error)
            raise
        self._engine.agree(0)

    def all(self, value: _T) -> list[_T]:
        """Return the values of all processes, by rank."""
        self._engine.agree(0)
        values: list[Any] = [None] * self.size
        with _lost():
            self._dist.all_gather_object(values, value, group=self._control)
        return values

    def first(self, value: _T) -> _T:
        """Return the value of process 0."""
        self._engine.agree(0)
        values = [value]
        with _lost():
            self._dist.broadcast_object_list(values, group=self._control, group_src=0)
        return values[0]

    def same(self, hint: str = "", **values: Any) -> None:
        """Refuse values that are not the same in all processes, in all of them."""
        first, *others = self.all({name: repr(value) for name, value in values.items()})
        for rank, other in enumerate(others, 1):
            for name, value in first.items():
                if other.get(name) != value:
                    raise ArgumentError(
                        f"{name} must be the same in all processes of the group, got {value} in "
                        f"process 0 and {other.get(name)} in process {rank}{hint}"
                    )

    def callback(self, callback: _Callback | None) -> _Callback | None:
        """Return a callback that all processes call together; None if none has one.

        If one raises, all stop; if one returns True, it is True for all.
        """
        if not self._engine.agree(callback is not None):
            return None

        def call(record: dict[str, float]) -> bool:
            try:
                stops = callback is not None and callback(record) is True
            except BaseException as error:
                self._engine.leave(error)
                raise
            return self._engine.agree(stops) > 0

        return call

    def device(self, device: str) -> str:
        """Return the device of this process's model: one GPU for each process of a machine."""
        count = _core.cuda_device_count()
        if device not in ("auto", "cuda") or not count:
            return device
        local = os.environ.get("LOCAL_RANK")
        if local is None:
            import torch

            return f"cuda:{torch.cuda.current_device()}"
        # Some launchers show each process one device only.
        return f"cuda:{int(local) % count}"


ALONE = Alone()


@contextmanager
def together(group: Any, shared: bool) -> Iterator[Alone]:
    """Train with the processes of `group`: what ends the block in one ends it in all."""
    if group is None:
        yield ALONE
        return
    here = Group(group, shared)
    with here.agreed():
        yield here


@contextmanager
def _lost() -> Iterator[None]:
    """Raise `GroupError` where a process is gone."""
    try:
        yield
    except RuntimeError as error:
        raise GroupError(f"another process of the group is gone: {error}") from None


def _control(dist: Any, group: Any) -> Any:
    """Return the group that agrees on the CPU: the same one where it can."""
    if "cpu:" in dist.get_backend_config(group):
        return group
    name = group.group_name
    if name not in _CONTROL:
        ranks = dist.get_process_group_ranks(group)
        _CONTROL[name] = dist.new_group(ranks, backend="gloo", use_local_synchronization=True)
    return _CONTROL[name]
