from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Column = tuple[NDArray[Any] | list[NDArray[Any]], str | None]

class _Observer(Protocol):
    def on_progress(self, step: int, losses: dict[str, float]) -> None: ...
    def on_report(
        self, step: int, epoch: int, losses: dict[str, float], learning_rate: float, seconds: float
    ) -> None: ...

class Core:
    def __new__(cls, architecture: dict[str, Any], init: dict[str, Any], device: str) -> Core: ...
    @property
    def device(self) -> str: ...
    @property
    def progress(self) -> tuple[int, int, int]: ...
    def weights(self) -> dict[str, Array]: ...
    def set_weights(self, arrays: dict[str, Array]) -> None: ...
    def training_state(self) -> dict[str, Any]: ...
    def set_training_state(self, first: Array, second: Array, progress: list[int]) -> None: ...
    def train(
        self,
        past: Column,
        future: Column | None,
        training: dict[str, Any],
        until: int | None,
        report_every: int,
        observer: _Observer,
        check: bool,
        num_threads: int | None,
    ) -> None: ...
    def gradients(
        self,
        past: Column,
        future: Column | None,
        training: dict[str, Any],
        probability: float,
        double: bool,
    ) -> tuple[dict[str, float], dict[str, NDArray[np.float64]], dict[str, NDArray[np.float64]]]: ...
    def encode(
        self, past: Column, batch_size: int, full: bool, num_threads: int | None
    ) -> Array: ...
    def decode(
        self, states: Array, decoder: str, steps: int, batch_size: int, num_threads: int | None
    ) -> Array: ...
    def generate(
        self,
        past: Column,
        decoder: str,
        steps: int | None,
        batch_size: int,
        num_threads: int | None,
    ) -> Array: ...
    def losses(
        self, past: Column, future: Column | None, batch_size: int, num_threads: int | None
    ) -> dict[str, float]: ...

def cuda_device_count() -> int: ...
def read(path: str) -> tuple[dict[str, Array], dict[str, str]]: ...
def write(path: str, arrays: dict[str, Array], metadata: dict[str, str]) -> None: ...
