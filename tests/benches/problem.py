"""What every contestant is given: the same starting weights and the same windows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sizes import Size

Array = NDArray[np.float32]

LEARNING_RATE = 5e-4
DECODERS = ("reconstruct", "predict")


@dataclass(frozen=True)
class Problem:
    """A model, its data, and where and how precisely it is computed."""

    size: Size
    updates: int  # batches of data, and updates of the weights that are timed together
    device: str  # "cpu" or "cuda"
    precision: str  # "fp32", "tf32", "bf16" or "fp16"

    def weights(self) -> dict[str, Array]:
        """Starting weights by PyTorch's names, U(-1/sqrt(H), 1/sqrt(H))."""
        size, random = self.size, np.random.default_rng(0)
        shapes: dict[str, tuple[int, ...]] = {}
        for part in ("encoder", *(f"{name}_decoder" for name in DECODERS)):
            for layer in range(size.layers):
                below = size.frame if layer == 0 else size.hidden
                shapes[f"{part}.lstm.weight_ih_l{layer}"] = (4 * size.hidden, below)
                shapes[f"{part}.lstm.weight_hh_l{layer}"] = (4 * size.hidden, size.hidden)
                shapes[f"{part}.lstm.bias_ih_l{layer}"] = (4 * size.hidden,)
                shapes[f"{part}.lstm.bias_hh_l{layer}"] = (4 * size.hidden,)
            if part != "encoder":
                shapes[f"{part}.fc.weight"] = (size.frame, size.hidden)
                shapes[f"{part}.fc.bias"] = (size.frame,)
        bound = 2 * size.hidden**-0.5
        return {
            name: bound * (random.random(shape, dtype=np.float32) - np.float32(0.5))
            for name, shape in shapes.items()
        }

    def windows(self) -> tuple[Array, Array]:
        """Pasts and futures, each (updates * B, T, D), uniform in 0..1."""
        size, random = self.size, np.random.default_rng(1)
        shape = (self.updates * size.batch, size.steps, size.frame)
        return random.random(shape, dtype=np.float32), random.random(shape, dtype=np.float32)

    def batches(self) -> list[tuple[Array, Array]]:
        """The same windows, cut into batches (B, T, D), without copying."""
        pasts, futures = self.windows()
        runs = [slice(i, i + self.size.batch) for i in range(0, len(pasts), self.size.batch)]
        return [(pasts[run], futures[run]) for run in runs]

    @property
    def loss_scale(self) -> float:
        """What the loss is multiplied by for 16-bit floats, so that gradients are not too small.

        The derivative of a mean over n numbers is about 1/n, below the least normal float16 at the
        larger sizes; times the power of two next to n it is about 1.
        """
        if self.precision != "fp16":
            return 1.0
        return float(2.0 ** round(np.log2(self.size.batch * self.size.steps * self.size.frame)))
