"""The model in plain PyTorch: what the engine is checked against.

Written from the seed's program (`seed.py`), with its weight names, and widened to the whole model:
either decoder alone, feedback of four kinds, two losses, weights of the losses, sequences of
unequal length. Nothing here is fast; all of it is meant to be read. Works in float32 and float64.

Letters: n = batch, T = past, F = future, D = frame numbers, H = hidden_size, L = num_layers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

State = tuple[Tensor, Tensor]  # h and c, each (L, n, H)


class PlainLSTM(nn.Module):
    """What `nn.LSTM` cannot express: no input at all (feedback "none"), and peepholes.

    Without an input, layer 0 has no `weight_ih_l0`. With peepholes, every layer has
    `weight_ch_l*`, (3 H): from the cell to the gates i, f and o. Names and shapes of all other
    parameters, and the gates' order (i, f, g, o), are those of `nn.LSTM`.
    """

    def __init__(
        self, input_size: int | None, hidden_size: int, num_layers: int, peepholes: bool
    ) -> None:
        super().__init__()
        self.hidden_size, self.num_layers = hidden_size, num_layers
        self.peepholes = peepholes
        bound = hidden_size**-0.5
        for layer in range(num_layers):
            inputs = input_size if layer == 0 else hidden_size
            shapes = {
                f"weight_ih_l{layer}": (4 * hidden_size, inputs),
                f"weight_hh_l{layer}": (4 * hidden_size, hidden_size),
                f"bias_ih_l{layer}": (4 * hidden_size,),
                f"bias_hh_l{layer}": (4 * hidden_size,),
                f"weight_ch_l{layer}": (3 * hidden_size,),
            }
            if inputs is None:
                del shapes[f"weight_ih_l{layer}"]
            if not peepholes:
                del shapes[f"weight_ch_l{layer}"]
            for name, shape in shapes.items():
                start = torch.empty(shape).uniform_(-bound, bound)
                self.register_parameter(name, nn.Parameter(start))

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One step of x (n, 1, D), which is ignored without input weights."""
        h, c = list(state[0]), list(state[1])  # L times (n, H)
        below = x[:, 0]
        for layer in range(self.num_layers):
            named = {name: p for name, p in self.named_parameters() if name.endswith(f"_l{layer}")}
            weight = {name.rsplit("_", 1)[0]: parameter for name, parameter in named.items()}
            gates = weight["bias_ih"] + weight["bias_hh"] + h[layer] @ weight["weight_hh"].T
            if "weight_ih" in weight:
                gates = gates + below @ weight["weight_ih"].T
            i, f, g, o = gates.chunk(4, dim=1)
            if self.peepholes:
                to_i, to_f, to_o = weight["weight_ch"].chunk(3)
                i, f = i + to_i * c[layer], f + to_f * c[layer]
            c[layer] = f.sigmoid() * c[layer] + i.sigmoid() * g.tanh()
            if self.peepholes:
                o = o + to_o * c[layer]
            h[layer] = o.sigmoid() * c[layer].tanh()
            below = h[layer]
        return below.unsqueeze(1), (torch.stack(h), torch.stack(c))


def lstm(input_size: int | None, hidden_size: int, num_layers: int, peepholes: bool) -> nn.Module:
    """PyTorch's own wherever it can be."""
    if input_size is None or peepholes:
        return PlainLSTM(input_size, hidden_size, num_layers, peepholes)
    return nn.LSTM(input_size, hidden_size, num_layers, batch_first=True)


class Encoder(nn.Module):
    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int, peepholes: bool = False
    ) -> None:
        super().__init__()
        self.lstm = lstm(input_size, hidden_size, num_layers, peepholes)

    def forward(self, past: Tensor, valid: Tensor) -> State:
        """The state after the last frame; past (n, T, D) aligned right, valid (n, T)."""
        h = past.new_zeros(self.lstm.num_layers, past.shape[0], self.lstm.hidden_size)
        c = torch.zeros_like(h)
        for step in range(past.shape[1]):
            _, (h, c) = self.lstm(past[:, step : step + 1], (h, c))
            started = valid[:, step].view(1, -1, 1)
            h = torch.where(started, h, 0.0)  # held at zero before the sequence starts
            c = torch.where(started, c, 0.0)
        return h, c


class Decoder(nn.Module):
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int,
        num_layers: int,
        feedback: str,
        peepholes: bool = False,
    ) -> None:
        super().__init__()
        self.feedback = feedback
        inputs = None if feedback == "none" else input_size
        self.lstm = lstm(inputs, hidden_size, num_layers, peepholes)
        self.fc = nn.Linear(hidden_size, output_size)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        output, state = self.lstm(x, state)
        return self.fc(output), state


@dataclass
class Result:
    """What one forward pass gives; every dict is by decoder, every array in emission order."""

    losses: dict[str, Tensor]
    total: Tensor
    outputs: dict[str, Tensor]  # (n, steps, D); after the sigmoid for "bce"
    fed: dict[str, Tensor]  # (n, steps, D); no entry for feedback "none"


class Seq2Seq(nn.Module):
    """The composite model. `feedback` is one word, or a word for each decoder.

    In training mode, "truth" is fed the frame that the step before had to emit, and "scheduled"
    wants `given`. In evaluation mode both are fed their own output, as at inference.
    """

    def __init__(
        self,
        frame_numbers: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        peepholes: bool = False,
        decoders: str = "both",
        feedback: str | Mapping[str, str] = "output",
        loss: str = "mse",
        loss_weights: Sequence[float] = (1.0, 1.0),
    ) -> None:
        super().__init__()
        if isinstance(feedback, str):
            feedback = {"reconstruct": feedback, "predict": feedback}
        self.frame_numbers = frame_numbers
        self.loss = loss
        self.loss_weights = dict(zip(("reconstruct", "predict"), loss_weights, strict=True))
        self.names = ("reconstruct", "predict") if decoders == "both" else (decoders,)
        self.encoder = Encoder(frame_numbers, hidden_size, num_layers, peepholes)
        for name in self.names:
            decoder = Decoder(
                frame_numbers, hidden_size, frame_numbers, num_layers, feedback[name], peepholes
            )
            self.add_module(f"{name}_decoder", decoder)

    def decoder(self, name: str) -> Decoder:
        decoder = self.get_submodule(f"{name}_decoder")
        assert isinstance(decoder, Decoder)
        return decoder

    def frames(self, logits: Tensor) -> Tensor:
        return logits.sigmoid() if self.loss == "bce" else logits

    def decode(
        self,
        name: str,
        state: State,
        steps: int,
        truth: Tensor | None = None,
        given: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Run one decoder; returns what `fc` emitted and what was fed, both (n, steps, D).

        `truth` are the frames to emit; `given`, if any, are the frames to feed.
        """
        decoder = self.decoder(name)
        frame = state[0].new_zeros(state[0].shape[1], 1, self.frame_numbers)
        emitted, fed = [frame[:, :0]], [frame[:, :0]]  # so that no steps at all can be joined
        for step in range(steps):
            if given is not None:
                frame = given[:, step : step + 1]
            logits, state = decoder(frame, state)
            emitted.append(logits)
            fed.append(frame)
            if self.training and decoder.feedback == "truth" and truth is not None:
                frame = truth[:, step : step + 1]
            elif self.training and decoder.feedback == "scheduled" and given is None:
                raise ValueError("scheduled feedback in training needs the frames it was fed")
            else:
                frame = self.frames(logits).detach()
        return torch.cat(emitted, dim=1), torch.cat(fed, dim=1)

    def mean_loss(self, logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
        """Sum over the valid numbers, divided by their count; 0 where there are none."""
        if self.loss == "bce":
            losses = nn.functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        else:
            losses = (logits - truth) ** 2
        return losses[valid].sum() / max(losses[valid].numel(), 1)

    def forward(
        self,
        past: Tensor,
        future: Tensor,
        past_valid: Tensor | None = None,
        future_valid: Tensor | None = None,
        given: Mapping[str, Tensor] | None = None,
        known: Mapping[str, Tensor] | None = None,
    ) -> Result:
        """Past (n, T, D) aligned right, future (n, F, D) aligned left; valid: (n, T), (n, F).

        `known`, (n, steps, D) in the order of emission, says which numbers count in the losses.
        """
        if past_valid is None:
            past_valid = torch.ones(past.shape[:2], dtype=torch.bool)
        if future_valid is None:
            future_valid = torch.ones(future.shape[:2], dtype=torch.bool)
        truths = {
            "reconstruct": (past.flip(1), past_valid.flip(1)),  # last frame first, so aligned left
            "predict": (future, future_valid),
        }
        state = self.encoder(past, past_valid)
        total = past.new_zeros(())
        losses, outputs, all_fed = {}, {}, {}
        for name in self.names:
            truth, valid = truths[name]
            logits, fed = self.decode(name, state, truth.shape[1], truth, (given or {}).get(name))
            losses[name] = self.mean_loss(logits, truth, (known or {}).get(name, valid))
            total = total + self.loss_weights[name] * losses[name]
            outputs[name] = self.frames(logits)
            if self.decoder(name).feedback != "none":
                all_fed[name] = fed
        return Result(losses, total, outputs, all_fed)


def pad(sequences: Sequence[Tensor], side: str) -> tuple[Tensor, Tensor]:
    """Stack sequences (T_i, D) to (n, T, D) with zeros on `side`; also which are frames (n, T)."""
    longest = max(len(sequence) for sequence in sequences)
    padded = sequences[0].new_zeros(len(sequences), longest, sequences[0].shape[1])
    valid = torch.zeros(len(sequences), longest, dtype=torch.bool)
    for row, sequence in enumerate(sequences):
        start = longest - len(sequence) if side == "left" else 0
        padded[row, start : start + len(sequence)] = sequence
        valid[row, start : start + len(sequence)] = True
    return padded, valid


def gradients(model: Seq2Seq, total: Tensor) -> dict[str, Tensor]:
    """Autograd's gradient of every parameter; zeros for one that the loss does not reach."""
    named = dict(model.named_parameters())
    found = torch.autograd.grad(
        total, list(named.values()), allow_unused=True, materialize_grads=True
    )
    return dict(zip(named, found, strict=True))
