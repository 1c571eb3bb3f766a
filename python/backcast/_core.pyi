from collections.abc import Callable
from typing import Any, Protocol, final

import numpy as np
from numpy.typing import NDArray

from backcast._engine.columns import Column

__all__ = ["Core", "Group", "Session", "check_shapes", "cuda_device_count", "loss_ranges", "words"]

_Array = NDArray[np.float32]

class _Observer(Protocol):
    def on_progress(self, step: int, losses: dict[str, float]) -> None: ...
    def on_report(
        self, step: int, epoch: int, losses: dict[str, float], learning_rate: float
    ) -> None: ...
    def on_drift(self, step: int) -> None: ...

class _Inference(Protocol):
    @property
    def batch_size(self) -> int: ...
    @property
    def num_threads(self) -> int | None: ...
    @property
    def on_rows(self) -> Callable[[int, int], None] | None: ...

@final
class Core:
    def __new__(
        cls,
        architecture: dict[str, Any],
        init: dict[str, Any],
        device: str,
        precision: str,
        weights: dict[str, _Array] | None = None,
    ) -> Core: ...
    @property
    def device(self) -> str: ...
    @property
    def records(self) -> bool: ...
    @property
    def progress(self) -> tuple[int, int, int]: ...
    def weights(self) -> dict[str, _Array]: ...
    def set_weights(self, arrays: dict[str, _Array]) -> None: ...
    def training_state(self) -> tuple[dict[str, _Array], dict[str, _Array], list[int]]: ...
    def set_training_state(
        self,
        first: dict[str, _Array] | None,
        second: dict[str, _Array] | None,
        progress: list[int],
    ) -> None: ...
    def replicate(self, group: Group) -> None: ...
    def gradients(
        self,
        past: Column,
        future: Column | None,
        labels: NDArray[np.int64] | None,
        training: dict[str, Any],
        probability: float,
        double: bool,
    ) -> tuple[
        dict[str, float], dict[str, NDArray[np.float64]], dict[str, NDArray[np.float64]]
    ]: ...
    def encode(self, past: Column, what: str, inference: _Inference) -> _Array: ...
    def decode(self, states: _Array, decoder: str, steps: int, inference: _Inference) -> _Array: ...
    def generate(
        self, past: Column, decoder: str, steps: int | None, inference: _Inference
    ) -> _Array: ...
    def trace(
        self, past: Column, steps: int, inference: _Inference
    ) -> dict[str, tuple[_Array, _Array, _Array]]: ...
    def classify(self, past: Column, inference: _Inference) -> _Array: ...
    def losses(
        self,
        past: Column,
        future: Column | None,
        labels: NDArray[np.int64] | None,
        inference: _Inference,
        group: Group | None = None,
        *,
        shared: bool = True,
    ) -> dict[str, float]: ...
    def losses_of_windows(
        self, past: Column, future: Column | None, inference: _Inference
    ) -> dict[str, _Array]: ...

@final
class Group:
    def __new__(cls, gradients: str, control: str, rank: int, size: int) -> Group: ...
    def agree(self, number: int) -> int: ...
    def leave(self, error: BaseException) -> None: ...

# Past, future, and the number of each window's class.
_Windows = tuple[Column, Column | None, NDArray[np.int64] | None]

@final
class Session:
    def __new__(
        cls,
        core: Core,
        source: _Windows | Callable[[], _Windows | None],
        training: dict[str, Any],
        report_every: int,
        observer: _Observer,
        *,
        check: bool,
        num_threads: int | None,
        group: Group | None = None,
        batches: int | None = None,
    ) -> Session: ...
    def run(self, until: int | None) -> None: ...

def words() -> dict[str, list[str]]: ...
def loss_ranges() -> dict[str, tuple[float, float] | None]: ...
def cuda_device_count() -> int: ...
def check_shapes(architecture: dict[str, Any], shapes: dict[str, list[int]]) -> None: ...
