"""A fitted model or classifier in plain PyTorch. Only this module imports torch's Python.

Letters: n = windows, T = frames of a window, D = numbers of a frame, H = hidden_size, L =
num_layers, K = classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import linear

from backcast._engine.scale import Scale
from backcast._parameters import LOSS_RANGES, steps_or_horizon
from backcast.errors import DataError, ShapeError

State = tuple[Tensor, Tensor]  # h and c, each (L, n, H)


class PlainLSTM(nn.Module):
    """What `nn.LSTM` cannot express: layers that get no input (feedback "none"), and peepholes.

    Without an input, layer 0 has no `weight_ih_l0`. With peepholes, every layer has `weight_ch_l*`,
    (3H,): from the cell to the gates i, f and o. All else is as in `nn.LSTM`, batch first.

    Parameters
    ----------
    input_size : int or None
        Numbers of a frame; None for no input.
    hidden_size, num_layers : int
        Units of a layer, and layers.
    peepholes : bool
        Whether the gates see the cell.
    """

    def __init__(
        self, input_size: int | None, hidden_size: int, num_layers: int, peepholes: bool
    ) -> None:
        super().__init__()
        self.hidden_size, self.num_layers = hidden_size, num_layers
        for layer in range(num_layers):
            inputs = hidden_size if layer else input_size
            shapes = {
                "weight_ih": None if inputs is None else (4 * hidden_size, inputs),
                "weight_hh": (4 * hidden_size, hidden_size),
                "bias_ih": (4 * hidden_size,),
                "bias_hh": (4 * hidden_size,),
                "weight_ch": (3 * hidden_size,) if peepholes else None,
            }
            for name, shape in shapes.items():
                weight = None if shape is None else nn.Parameter(torch.empty(shape))
                self.register_parameter(f"{name}_l{layer}", weight)

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Run over x (n, T, D); layers without an input use only n and T.

        Parameters
        ----------
        x : Tensor
            Frames, (n, T, D).
        state : tuple of two Tensors, default=None
            h and c before them, each (L, n, H); zeros by default.

        Returns
        -------
        output : Tensor
            h of the top layer after every frame, (n, T, H).
        state : tuple of two Tensors
            h and c after the last frame.
        """
        if state is None:
            zeros = x.new_zeros(self.num_layers, x.shape[0], self.hidden_size)
            state = zeros, zeros
        last = []
        for layer, (h, c) in enumerate(zip(*state, strict=True)):
            x, h, c = self._layer(layer, x, h, c)
            last.append((h, c))
        h, c = (torch.stack(layers) for layers in zip(*last, strict=True))
        return x, (h, c)

    def _layer(self, layer: int, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_ch")
        w_ih, w_hh, b_ih, b_hh, w_ch = (getattr(self, f"{name}_l{layer}") for name in names)
        bias = b_ih + b_hh
        sums = bias.expand(*x.shape[:2], -1) if w_ih is None else linear(x, w_ih, bias)
        outputs = []
        for into in sums.unbind(1):
            i, f, g, o = (into + linear(h, w_hh)).chunk(4, 1)
            if w_ch is not None:
                to_i, to_f, to_o = w_ch.chunk(3)
                i, f = i + to_i * c, f + to_f * c
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            if w_ch is not None:
                o = o + to_o * c
            h = o.sigmoid() * c.tanh()
            outputs.append(h)
        return torch.stack(outputs, 1), h, c


class Part(nn.Module):
    """An LSTM, and a linear layer on h of its top layer where there are outputs.

    Parameters
    ----------
    built : mapping
        The architecture of the engine.
    input_size, output_size : int or None
        Numbers that come in and go out at each step; None for no input, and for h itself.
    """

    def __init__(
        self, built: Mapping[str, Any], input_size: int | None, output_size: int | None
    ) -> None:
        super().__init__()
        hidden_size, self.num_layers = built["hidden_size"], built["num_layers"]
        self.lstm: nn.Module
        if input_size is None or built["peepholes"]:
            self.lstm = PlainLSTM(input_size, hidden_size, self.num_layers, built["peepholes"])
        else:
            self.lstm = nn.LSTM(input_size, hidden_size, self.num_layers, batch_first=True)
        self.fc = nn.Identity() if output_size is None else nn.Linear(hidden_size, output_size)

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Run over x, as `PlainLSTM.forward` does; the output of every step, and the last state."""
        output, state = self.lstm(x, state)
        # torch.export takes the state of nn.LSTM for one of four dimensions: pytorch issue 151200.
        h, c = (part.reshape(self.num_layers, x.shape[0], -1) for part in state)
        return self.fc(output), (h, c)


class OfFrames(nn.Module):
    """A module of frames: it converts between the user's units and shape and those of layers."""

    frame_shape: tuple[int, ...]
    # As `backcast._engine.scale.Scale`, in double precision; None without scaling.
    offset: Tensor | None
    factor: Tensor | None

    @classmethod
    def of(
        cls,
        arrays: Mapping[str, NDArray[np.float32]],
        scale: Scale | None,
        *architecture: Any,
    ) -> Self:
        """Create a module with these weights, without drawing random ones first.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            All of its `state_dict`; not copied.
        scale : pair of ndarray or None
            Offset and factor of each number of a frame.
        *architecture : object
            The arguments of the class.

        Returns
        -------
        OfFrames
            The module, on the CPU.
        """
        with torch.device("meta"):
            module = cls(*architecture)
        weights = {name: torch.from_numpy(array) for name, array in arrays.items()}
        module.load_state_dict(weights, assign=True)
        for name, part in zip(("offset", "factor"), scale or (None, None), strict=True):
            buffer = None if part is None else torch.from_numpy(part.copy())
            module.register_buffer(name, buffer, persistent=False)
        return module

    def _numbers(self, name: str, frames: Tensor) -> Tensor:
        """Convert frames (n, T, *frame_shape) to the input of the layers, (n, T, D)."""
        if frames.shape[2:] != self.frame_shape:
            raise ShapeError(
                f"{name} must be of shape (n, T, *{self.frame_shape}), got {tuple(frames.shape)}"
            )
        if not frames.is_floating_point():
            raise DataError(
                f"{name} must be floats in the units the model takes, got {frames.dtype} (for a "
                "model of uint8 frames, divide them by 255)"
            )
        numbers = frames.flatten(2)
        if self.offset is None or self.factor is None:
            return numbers
        return ((numbers - self.offset) / self.factor).to(numbers.dtype)

    def _frames(self, numbers: Tensor) -> Tensor:
        """Convert the output of a decoder, (n, T, D), to the user's units and shape."""
        if self.offset is not None and self.factor is not None:
            numbers = (numbers * self.factor + self.offset).to(numbers.dtype)
        return numbers.reshape(*numbers.shape[:2], *self.frame_shape)


class TorchModel(OfFrames):
    """A fitted `backcast.Model` as a PyTorch module; see `Model.to_torch`.

    Parameters
    ----------
    built : mapping
        The architecture of the engine.
    frame_shape : tuple of int
        Shape of one frame.
    horizon : int or None
        Default number of steps of the predict decoder.
    pooling : {"last", "mean"}
        What an embedding is.
    """

    def __init__(
        self,
        built: Mapping[str, Any],
        frame_shape: tuple[int, ...],
        horizon: int | None,
        pooling: str,
    ) -> None:
        super().__init__()
        self.frame_shape, self.horizon, self.pooling = frame_shape, horizon, pooling
        self.squash = nn.Identity() if LOSS_RANGES[built["loss"]] is None else nn.Sigmoid()
        size = built["frame_size"]
        self.encoder = Part(built, size, None)
        self.reconstruct_decoder, self.predict_decoder = (
            None if feedback is None else Part(built, None if feedback == "none" else size, size)
            for feedback in built["feedback"]
        )

    def encode(self, past: Tensor) -> Tensor:
        """Map each past to its embedding.

        Parameters
        ----------
        past : Tensor
            Frames as `forward` takes them, (n, T, *frame_shape).

        Returns
        -------
        Tensor
            h of the top layer after the last frame, or its mean over all frames, (n, H).
        """
        of_all, (h, _) = self.encoder(self._numbers("past", past))
        embedding: Tensor = of_all.mean(1) if self.pooling == "mean" else h[-1]
        return embedding

    def forward(self, past: Tensor, steps: int | None = None) -> dict[str, Tensor]:
        """Reconstruct each past and predict the frames after it.

        Parameters
        ----------
        past : Tensor
            Frames of the module's dtype, on its device, (n, T, *frame_shape).
        steps : int, default=None
            Number of frames to predict, if there is a predict decoder; the horizon by default.

        Returns
        -------
        dict of Tensor
            "reconstruct", (n, T, *frame_shape) in the order of the past, and "predict",
            (n, steps, *frame_shape), for the decoders that the model has.

        Raises
        ------
        ShapeError, DataError, ArgumentError
            If `past` has frames of another shape or is not of floats, or `steps` is below 1.
        """
        _, state = self.encoder(self._numbers("past", past))
        frames = {}
        if self.reconstruct_decoder is not None:
            emitted = self._decode(self.reconstruct_decoder, state, past.shape[1])
            frames["reconstruct"] = self._frames(emitted.flip(1))
        if self.predict_decoder is not None:
            steps = steps_or_horizon(steps, self.horizon)
            frames["predict"] = self._frames(self._decode(self.predict_decoder, state, steps))
        return frames

    def _decode(self, decoder: Part, state: State, steps: int) -> Tensor:
        """Return the outputs, (n, steps, D); the input of a step is the output of the last."""
        frame = state[0].new_zeros(state[0].shape[1], 1, math.prod(self.frame_shape))
        emitted = []
        for _ in range(steps):
            output, state = decoder(frame, state)
            frame = self.squash(output)
            emitted.append(frame)
        return torch.cat(emitted, 1)


class TorchClassifier(OfFrames):
    """A fitted `backcast.Classifier` as a PyTorch module; see `Classifier.to_torch`.

    Parameters
    ----------
    built : mapping
        The architecture of the engine.
    frame_shape : tuple of int
        Shape of one frame.
    """

    def __init__(self, built: Mapping[str, Any], frame_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.frame_shape = frame_shape
        self.encoder = Part(built, built["frame_size"], built["classes"])

    def logits(self, X: Tensor) -> Tensor:
        """Score the classes at every step: the softmax's input.

        Parameters
        ----------
        X : Tensor
            Frames as `forward` takes them, (n, T, *frame_shape).

        Returns
        -------
        Tensor
            Logits, (n, T, K).
        """
        logits: Tensor = self.encoder(self._numbers("X", X))[0]
        return logits

    def forward(self, X: Tensor) -> Tensor:
        """Probabilities of the classes, averaged over the steps.

        Parameters
        ----------
        X : Tensor
            Frames of the module's dtype, on its device, (n, T, *frame_shape).

        Returns
        -------
        Tensor
            Probabilities, (n, K), in the order of the classifier's `classes_`.

        Raises
        ------
        ShapeError, DataError
            If `X` has frames of another shape, or is not of floats.
        """
        return self.logits(X).softmax(2).mean(1)
