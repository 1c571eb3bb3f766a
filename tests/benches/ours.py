"""backcast as its users call it: NumPy arrays go in, gathering and copying is part of the time."""

from __future__ import annotations

from typing import Any

from backcast import Model
from problem import DECODERS, LEARNING_RATE, Array, Problem


class Backcast:
    """`Model.partial_fit` over several batches in one call, and the calls of inference."""

    def __init__(self, problem: Problem, variant: str) -> None:
        size = problem.size
        self.size = size
        self.device = problem.device
        self.past, self.future = problem.windows()
        self.model = Model.from_state_dict(
            problem.weights(),
            horizon=size.steps,
            learning_rate=LEARNING_RATE,
            batch_size=size.batch,
            device=problem.device,
            precision=problem.precision,
            random_state=0,
            verbose=0,
        )

    def train(self, batches: int) -> None:
        """Update the weights on `batches` batches, in the model's own order."""
        windows = batches * self.size.batch
        self.model.partial_fit(self.past[:windows], self.future[:windows])
        self._wait()

    def loss_curve(self, updates: int) -> list[list[float]]:
        """Update on one batch after the other; the losses before each update."""
        curve = []
        for update in range(updates):
            rows = slice(update * self.size.batch, (update + 1) * self.size.batch)
            self.model.partial_fit(self.past[rows], self.future[rows])
            curve.append([self.model.history_[-1][name] for name in DECODERS])
        return curve

    def gradients(self) -> dict[str, Any]:
        """Gradients of the total loss of the first batch."""
        rows = slice(self.size.batch)
        return self.model._gradients(self.past[rows], self.future[rows], double=False)[1]

    def encode(self) -> Array:
        """Embeddings of the first batch."""
        return self.model.encode(self.past[: self.size.batch])

    def reconstruct(self) -> Any:
        """The first batch's pasts, rebuilt."""
        return self.model.reconstruct(self.past[: self.size.batch])

    def predict(self, steps: int) -> Any:
        """So many frames after the first batch's pasts."""
        return self.model.predict(self.past[: self.size.batch], steps=steps)

    def _wait(self) -> None:
        if self.device == "cuda":
            # Only here: on the CPU torch's Python stays out of this process, as it does for users.
            import torch

            torch.cuda.synchronize()
