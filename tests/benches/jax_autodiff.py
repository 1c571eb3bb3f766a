"""The model in JAX as a user writes it: `jit`, `lax.scan` over the steps, gradients by autodiff.

The encoder's input products are one product over all steps; the rest follows the equations.
`variant` is the number of steps that `scan` unrolls.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jax_training import JaxTraining, Tree
from problem import DECODERS, Array


class JaxAutodiff(JaxTraining):
    """Weights are kept by PyTorch's names."""

    def pack(self, weights: dict[str, Array]) -> Tree:
        return weights

    def unpack(self, weights: Tree) -> dict[str, Array]:
        return jax.device_get(weights)

    def find_gradients(
        self, weights: Tree, past: jax.Array, future: jax.Array
    ) -> tuple[Tree, jax.Array]:
        gradients, losses = jax.grad(self._total, has_aux=True)(weights, past, future)
        return jax.tree.map(lambda g: g / self.loss_scale, gradients), losses

    def _total(
        self, weights: Tree, past: jax.Array, future: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        weights = jax.tree.map(lambda w: w.astype(self.kind), weights)
        scan = partial(lax.scan, unroll=int(self.variant))
        layers = range(self.size.layers)
        batch = (past.shape[1], self.size.hidden)

        # encoder
        x, state = past, []
        for layer in layers:
            names = [f"encoder.lstm.{name}_l{layer}" for name in LSTM]
            w_ih, w_hh, b_ih, b_hh = (weights[name] for name in names)

            def step(state: Tree, inputs: jax.Array, w_hh: jax.Array = w_hh) -> Tree:
                h, c = cell(inputs + state[0].astype(self.kind) @ w_hh.T, state[1])
                return (h, c), h

            inputs = x.astype(self.kind) @ w_ih.T + b_ih + b_hh  # (T, B, 4 H)
            last, x = scan(step, (jnp.zeros(batch), jnp.zeros(batch)), inputs)
            state.append(last)

        # decoders
        losses = []
        for decoder, truth in zip(DECODERS, (past[::-1], future), strict=True):
            of_decoder = {
                name.removeprefix(f"{decoder}_decoder."): w
                for name, w in weights.items()
                if name.startswith(decoder)
            }
            emit = partial(self._emit, of_decoder)
            start = (jnp.zeros_like(past[0]), state)
            _, outputs = scan(emit, start, length=truth.shape[0])  # (T, B, D)
            losses.append(jnp.mean((outputs - truth) ** 2))
        both = jnp.stack(losses)
        return both.sum() * self.loss_scale, both

    def _emit(self, weights: Tree, carry: Tree, _: None) -> tuple[Tree, jax.Array]:
        """One step of a decoder, fed its last output."""
        x, state = carry
        new = []
        for layer, (h, c) in enumerate(state):
            w_ih, w_hh, b_ih, b_hh = (weights[f"lstm.{name}_l{layer}"] for name in LSTM)
            gates = x.astype(self.kind) @ w_ih.T + h.astype(self.kind) @ w_hh.T + b_ih + b_hh
            x, c = cell(gates, c)
            new.append((x, c))
        frame = x.astype(self.kind) @ weights["fc.weight"].T + weights["fc.bias"]
        frame = frame.astype(jnp.float32)
        return (lax.stop_gradient(frame), new), frame


LSTM = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def cell(gates: jax.Array, c: jax.Array) -> tuple[jax.Array, jax.Array]:
    """h and c after a step, (B, H), in float32."""
    i, f, g, o = jnp.split(gates.astype(jnp.float32), 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c
