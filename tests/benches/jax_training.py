"""What both programs in JAX share: precision, batches, Adam, the jitted and donating step.

The batches are arrays on the device, time first, before the clock starts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from problem import LEARNING_RATE, Array, Problem

Tree = Any  # of jax.Array

MATMUL = {"fp32": "highest", "tf32": "tensorfloat32", "bf16": "default", "fp16": "default"}
KIND = {"bf16": jnp.bfloat16, "fp16": jnp.float16}
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


class JaxTraining:
    """A subclass says what its weights are and how their gradients are found."""

    def __init__(self, problem: Problem, variant: str) -> None:
        self.size = problem.size
        self.kind = KIND.get(problem.precision, jnp.float32)
        self.loss_scale = problem.loss_scale
        self.variant = variant
        jax.config.update("jax_platforms", problem.device)
        jax.config.update("jax_default_matmul_precision", MATMUL[problem.precision])
        self.batches = [
            tuple(jax.device_put(side.swapaxes(0, 1).copy()) for side in batch)  # (T, B, D)
            for batch in problem.batches()
        ]
        self.weights = jax.device_put(self.pack(problem.weights()))
        self.moments = tuple(jax.tree.map(jnp.zeros_like, self.weights) for _ in range(2))
        self.count = jnp.zeros((), jnp.int32)
        self.update = jax.jit(partial(update, self.find_gradients), donate_argnums=(0, 1, 2))

    def pack(self, weights: dict[str, Array]) -> Tree:
        """Weights by PyTorch's names as this program keeps them."""
        raise NotImplementedError

    def unpack(self, weights: Tree) -> dict[str, Array]:
        """The reverse of `pack`."""
        raise NotImplementedError

    def find_gradients(
        self, weights: Tree, past: jax.Array, future: jax.Array
    ) -> tuple[Tree, jax.Array]:
        """Gradients of the total, and the losses of both decoders (2,)."""
        raise NotImplementedError

    def train(self, batches: int) -> None:
        """Update the weights on `batches` batches."""
        for batch in self.batches[:batches]:
            self._update(batch)
        jax.block_until_ready((self.weights, self.moments))

    def loss_curve(self, updates: int) -> list[list[float]]:
        """Update on one batch after the other; the losses before each update."""
        return [self._update(batch).tolist() for batch in self.batches[:updates]]

    def gradients(self) -> dict[str, Array]:
        """Gradients of the total loss of the first batch."""
        return self.unpack(jax.jit(self.find_gradients)(self.weights, *self.batches[0])[0])

    def _update(self, batch: tuple[jax.Array, ...]) -> jax.Array:
        *state, losses = self.update(self.weights, self.moments, self.count, *batch)
        self.weights, self.moments, self.count = state
        return losses


def update(
    find_gradients: Callable[..., tuple[Tree, jax.Array]],
    weights: Tree,
    moments: Tree,
    count: jax.Array,
    past: jax.Array,
    future: jax.Array,
) -> tuple[Tree, Tree, jax.Array, jax.Array]:
    """One training step: both losses, the gradients, Adam as `torch.optim.Adam` does it."""
    gradients, losses = find_gradients(weights, past, future)
    count = count + 1
    rate = LEARNING_RATE / (1 - BETA1**count)
    scale = lax.rsqrt(1 - BETA2**count)
    first = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, moments[0], gradients)
    second = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, moments[1], gradients)
    weights = jax.tree.map(
        lambda w, m, v: w - rate * m / (jnp.sqrt(v) * scale + EPSILON), weights, first, second
    )
    return weights, (first, second), count, losses
