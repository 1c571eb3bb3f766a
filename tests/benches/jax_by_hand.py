"""The model in JAX as an expert writes it for speed: backpropagation through time by hand.

Only what depends on the step before runs inside `lax.scan`: the backward scans emit the gates'
gradients, and the weights' gradients are one product over all steps after them. The encoder's input
products are batched over the steps too. A decoder keeps its input and hidden weights as one matrix,
so that a layer's step is one product. `variant` is "lockstep" (both decoders side by side, as
batched products) or "in turn".
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jax_training import JaxTraining, Tree
from problem import DECODERS, Array


class JaxByHand(JaxTraining):
    """Weights are kept transposed: {"encoder": layers, "decoders": ...}."""

    def pack(self, weights: dict[str, Array]) -> Tree:
        layers = range(self.size.layers)

        def layer(part: str, index: int) -> Tree:
            name = f"{part}.lstm.{{}}_l{index}".format
            w_ih, w_hh = weights[name("weight_ih")].T, weights[name("weight_hh")].T
            biases = {"b_ih": weights[name("bias_ih")], "b_hh": weights[name("bias_hh")]}
            if part == "encoder":
                return {"w_ih": w_ih, "w_hh": w_hh, **biases}
            return {"w": jnp.concatenate([w_ih, w_hh]), **biases}

        decoders = [
            {
                "layers": [layer(f"{name}_decoder", index) for index in layers],
                "w": weights[f"{name}_decoder.fc.weight"].T,
                "b": weights[f"{name}_decoder.fc.bias"],
            }
            for name in DECODERS
        ]
        return {
            "encoder": [layer("encoder", index) for index in layers],
            "decoders": stack(decoders) if self.variant == "lockstep" else decoders,
        }

    def unpack(self, weights: Tree) -> dict[str, Array]:
        weights = jax.device_get(weights)
        named = {}

        def layer(part: str, index: int, of_layer: Tree) -> None:
            if "w" in of_layer:
                cut = len(of_layer["w"]) - self.size.hidden
                of_layer["w_ih"], of_layer["w_hh"] = of_layer["w"][:cut], of_layer["w"][cut:]
            name = f"{part}.lstm.{{}}_l{index}".format
            named[name("weight_ih")] = of_layer["w_ih"].T
            named[name("weight_hh")] = of_layer["w_hh"].T
            named[name("bias_ih")], named[name("bias_hh")] = of_layer["b_ih"], of_layer["b_hh"]

        for index, of_layer in enumerate(weights["encoder"]):
            layer("encoder", index, of_layer)
        for number, decoder in enumerate(DECODERS):
            if self.variant == "lockstep":
                of_decoder = jax.tree.map(lambda w, i=number: w[i], weights["decoders"])
            else:
                of_decoder = weights["decoders"][number]
            for index, of_layer in enumerate(of_decoder["layers"]):
                layer(f"{decoder}_decoder", index, of_layer)
            named[f"{decoder}_decoder.fc.weight"] = of_decoder["w"].T
            named[f"{decoder}_decoder.fc.bias"] = of_decoder["b"]
        return named

    def find_gradients(
        self, weights: Tree, past: jax.Array, future: jax.Array
    ) -> tuple[Tree, jax.Array]:
        weights = jax.tree.map(lambda w: w.astype(self.kind), weights)
        state, traces = encode(weights["encoder"], past)
        decoder = partial(decoder_gradients, state=state, loss_scale=self.loss_scale)
        truths = (past[::-1], future)
        if self.variant == "lockstep":
            decoded = jax.vmap(lambda w, truth: decoder(w, truth))
            losses, gradients, d_states = decoded(weights["decoders"], jnp.stack(truths))
            d_state = jax.tree.map(lambda d: d.sum(axis=0), d_states)
        else:
            results = map(decoder, weights["decoders"], truths)
            of_losses, of_gradients, d_states = zip(*results, strict=True)
            losses, gradients = jnp.stack(of_losses), list(of_gradients)
            d_state = jax.tree.map(jnp.add, *d_states)
        encoder = encoder_gradients(weights["encoder"], past, traces, d_state)
        found = {"encoder": encoder, "decoders": gradients}
        return jax.tree.map(lambda g: g / self.loss_scale, found), losses


# Trace of a layer, over all steps: the activated gates (i, f, g, o), c before the step and tanh(c)
# after it.


def product(x: jax.Array, w: jax.Array) -> jax.Array:
    """(..., m) times (m, n) in the kind of `w`, summed and given in float32."""
    return jnp.matmul(x.astype(w.dtype), w, preferred_element_type=jnp.float32)


def summed_product(x: jax.Array, y: jax.Array, like: jax.Array) -> jax.Array:
    """(T, B, m) and (T, B, n) to (m, n), summed over steps and batch: a weight's gradient."""
    x, y = x.astype(like.dtype), y.astype(like.dtype)
    return jnp.einsum("tbm,tbn->mn", x, y, preferred_element_type=jnp.float32)


def cell(gates: jax.Array, c: jax.Array) -> tuple[jax.Array, jax.Array, tuple[jax.Array, ...]]:
    """h and c after a step, and its trace."""
    i, f, g, o = jnp.split(gates, 4, axis=-1)
    i, f, g, o = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)
    new = f * c + i * g
    tanh_c = jnp.tanh(new)
    return o * tanh_c, new, (i, f, g, o, c, tanh_c)


def back_through(
    w_hh: jax.Array, trace: Tree, d_state: Tree, d_above: jax.Array | None
) -> tuple[jax.Array, Tree]:
    """The gates' gradients (T, B, 4 H), and the gradient at the state before the first step.

    `d_above` (T, B, H) enters at h of every step.
    """

    def step(carry: Tree, inputs: Tree) -> tuple[Tree, jax.Array]:
        dh, dc = carry
        (i, f, g, o, c, tanh_c), above = inputs
        if above is not None:
            dh = dh + above
        dc = dc + dh * o * (1 - tanh_c**2)
        d_gates = jnp.concatenate(
            [
                dc * g * i * (1 - i),
                dc * c * f * (1 - f),
                dc * i * (1 - g**2),
                dh * tanh_c * o * (1 - o),
            ],
            axis=-1,
        )
        return (product(d_gates, w_hh.T), dc * f), d_gates

    d_first, d_gates = lax.scan(step, d_state, (trace, d_above), reverse=True)
    return d_gates, d_first


def encode(layers: Tree, past: jax.Array) -> tuple[Tree, Tree]:
    """The state after the last frame, and each layer's trace with h of all its steps."""
    x, state, traces = past, [], []
    for of_layer in layers:
        w_hh = of_layer["w_hh"]

        def step(carry: Tree, inputs: jax.Array, w_hh: jax.Array = w_hh) -> tuple[Tree, Tree]:
            h, c, trace = cell(inputs + product(carry[0], w_hh), carry[1])
            return (h, c), (carry[0], h, trace)

        inputs = product(x, of_layer["w_ih"]) + (of_layer["b_ih"] + of_layer["b_hh"])
        zeros = jnp.zeros((past.shape[1], w_hh.shape[0]))
        last, (before, h, trace) = lax.scan(step, (zeros, zeros), inputs)
        state.append(last)
        traces.append((x, before, trace))
        x = h
    return state, traces


def encoder_gradients(layers: Tree, past: jax.Array, traces: Tree, d_state: Tree) -> Tree:
    """Gradients of the encoder's weights, from the gradient at its last state."""
    gradients = []
    d_above = None
    for of_layer, (x, before, trace), d_last in reversed(
        list(zip(layers, traces, d_state, strict=True))
    ):
        d_gates, _ = back_through(of_layer["w_hh"], trace, d_last, d_above)
        d_bias = d_gates.sum(axis=(0, 1))
        gradients.append(
            {
                "w_ih": summed_product(x, d_gates, of_layer["w_ih"]),
                "w_hh": summed_product(before, d_gates, of_layer["w_hh"]),
                "b_ih": d_bias,
                "b_hh": d_bias,
            }
        )
        if x is not past:
            d_above = product(d_gates, of_layer["w_ih"].T)
    return gradients[::-1]


def decoder_gradients(
    weights: Tree, truth: jax.Array, state: Tree, loss_scale: float
) -> tuple[jax.Array, Tree, Tree]:
    """Loss, gradients of the weights and of the first state, of a decoder fed its own outputs."""

    def step(carry: Tree, _: None) -> tuple[Tree, Tree]:
        x, state = carry
        new, traces = [], []
        for of_layer, (h, c) in zip(weights["layers"], state, strict=True):
            joined = jnp.concatenate([x, h], axis=-1).astype(of_layer["w"].dtype)
            gates = product(joined, of_layer["w"]) + (of_layer["b_ih"] + of_layer["b_hh"])
            x, c, trace = cell(gates, c)
            new.append((x, c))
            traces.append((joined, trace))
        frame = product(x, weights["w"]) + weights["b"]
        return (frame, new), (frame, x, traces)

    start = (jnp.zeros_like(truth[0]), state)
    _, (frames, h_top, traces) = lax.scan(step, start, length=truth.shape[0])
    error = frames - truth
    loss = jnp.mean(error**2)

    d_frames = error * (2 * loss_scale / error.size)
    d_above = product(d_frames, weights["w"].T)  # (T, B, H)
    d_layers, d_first = [], []
    for of_layer, (joined, trace), (h, c) in reversed(
        list(zip(weights["layers"], traces, state, strict=True))
    ):
        w = of_layer["w"]
        below = w.shape[0] - w.shape[1] // 4
        nothing = (jnp.zeros_like(h), jnp.zeros_like(c))
        d_gates, d_start = back_through(w[below:], trace, nothing, d_above)
        d_bias = d_gates.sum(axis=(0, 1))
        d_layers.append({"w": summed_product(joined, d_gates, w), "b_ih": d_bias, "b_hh": d_bias})
        d_first.append(d_start)
        if len(d_layers) < len(traces):
            d_above = product(d_gates, w[:below].T)
    gradients = {
        "layers": d_layers[::-1],
        "w": summed_product(h_top, d_frames, weights["w"]),
        "b": d_frames.sum(axis=(0, 1)),
    }
    return loss, gradients, d_first[::-1]


def stack(trees: Tree) -> Tree:
    """Several trees of arrays as one, along a new first axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
