"""The sizes that are measured, and how much arithmetic one training step of each needs.

Letters: B = batch, T = past and future, D = frame numbers, H = hidden_size, L = num_layers.
"""

from __future__ import annotations

import re
from dataclasses import astuple, dataclass


@dataclass(frozen=True)
class Size:
    """One model and its batch; the past is as long as the future."""

    batch: int
    steps: int
    frame: int
    hidden: int
    layers: int

    @classmethod
    def parse(cls, text: str) -> Size:
        """Read "B T D H L", the numbers parted by spaces or commas."""
        numbers = [int(word) for word in re.split(r"[\s,]+", text.strip())]
        if len(numbers) != 5 or min(numbers) < 1:
            raise ValueError(f'size must be five whole numbers "B T D H L", got {text!r}')
        return cls(*numbers)

    def __str__(self) -> str:
        return " ".join(map(str, astuple(self)))

    @property
    def flops(self) -> int:
        """Floating-point operations of the products of one training step.

        Without those that no result needs: the products of the zero frame that each decoder starts
        from and of the zero state that the encoder starts from, and the gradient at the data.
        """
        per_row = 0
        for layer in range(self.layers):
            below = self.frame if layer == 0 else self.hidden
            into, across = 4 * self.hidden * below, 4 * self.hidden * self.hidden
            # Forward and weight gradient; the gradient at the input only where a layer is below.
            times = 2 if layer == 0 else 3
            per_row += times * into * self.steps + 3 * across * (self.steps - 1)  # encoder
            fed = self.steps - 1 if layer == 0 else self.steps
            per_row += 2 * (times * into * fed + 3 * across * self.steps)  # decoders
        per_row += 2 * 3 * self.hidden * self.frame * self.steps  # the decoders' last layer
        return 2 * self.batch * per_row


SIZES = {
    "cpu": [
        Size(64, 30, 16, 64, 1),
        Size(32, 10, 256, 128, 2),
        Size(64, 10, 1024, 256, 1),
    ],
    "cuda": [
        Size(128, 10, 4096, 2048, 2),
        Size(128, 10, 4096, 512, 1),
        Size(64, 30, 32, 128, 2),
    ],
}
