"""The sizes that are measured, and how much arithmetic one training step of each needs.

Letters: B = batch, T = past and future, D = frame numbers, H = hidden_size, L = num_layers.
"""

from __future__ import annotations

import re
from collections import Counter
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
        return sum(2 * m * n * k * times for (m, n, k), times in self.products().items())

    def products(self) -> Counter[tuple[int, int, int]]:
        """Those products, (m, k) by (k, n), and how often each is needed.

        Those with h go step by step; all others take all steps at once, except the decoders' way
        forward, where an output is the next input.
        """
        batch, gates = self.batch, 4 * self.hidden
        needed: Counter[tuple[int, int, int]] = Counter()
        for decoder in (False, True):
            stacks = 2 if decoder else 1
            across = self.steps if decoder else self.steps - 1  # steps whose h is not zero
            for layer in range(self.layers):
                below = self.frame if layer == 0 else self.hidden
                fed = self.steps - 1 if decoder and layer == 0 else self.steps
                # Forward, the gradient at h, and at the weights of h.
                needed[batch, gates, self.hidden] += stacks * across
                needed[batch, self.hidden, gates] += stacks * across
                needed[gates, self.hidden, batch * across] += stacks
                # Forward, at the input's weights, and at the input where a layer is below.
                if decoder:
                    needed[batch, gates, below] += stacks * fed
                else:
                    needed[batch * fed, gates, below] += 1
                needed[gates, below, batch * fed] += stacks
                if layer > 0:
                    needed[batch * fed, below, gates] += stacks
        # The decoders' last layer.
        needed[batch, self.frame, self.hidden] += 2 * self.steps
        needed[batch * self.steps, self.hidden, self.frame] += 2
        needed[self.frame, self.hidden, batch * self.steps] += 2
        return needed


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
