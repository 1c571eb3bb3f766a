"""The seed's program on PyTorch, word for word, eager or under `torch.compile`.

The batches are tensors on the device before the clock starts. Adam is the fused one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn

from problem import LEARNING_RATE, Array, Problem

sys.path.append(str(Path(__file__).parent.parent / "python"))

from seed import Decoder, Encoder, Seq2Seq  # noqa: E402

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


class LSTM(nn.Module):
    """`nn.LSTM` in operators that `torch.compile` sees; it calls `nn.LSTM` itself as it is.

    (`torch._dynamo.config.allow_rnn` should make it look inside, but in torch 2.11 gives states of
    a wrong shape.)
    """

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        self.num_layers, self.hidden_size = lstm.num_layers, lstm.hidden_size
        for name, parameter in lstm.named_parameters():
            self.register_parameter(name, parameter)

    def forward(
        self, x: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        if state is None:
            zeros = x.new_zeros(self.num_layers, x.shape[0], self.hidden_size)
            state = (zeros, zeros)
        last_h, last_c = [], []
        for layer in range(self.num_layers):
            w_ih, w_hh, b_ih, b_hh = (
                self.get_parameter(f"{name}_l{layer}")
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            inputs = nn.functional.linear(x, w_ih, b_ih)  # (B, T, 4 H)
            h, c = state[0][layer], state[1][layer]
            outputs = []
            for step in range(x.shape[1]):
                gates = inputs[:, step] + nn.functional.linear(h, w_hh, b_hh)
                i, f, g, o = gates.chunk(4, dim=1)
                c = f.sigmoid() * c + i.sigmoid() * g.tanh()
                h = o.sigmoid() * c.tanh()
                outputs.append(h)
            x = torch.stack(outputs, dim=1)
            last_h.append(h)
            last_c.append(c)
        return x, (torch.stack(last_h), torch.stack(last_c))


class PyTorch:
    """`variant` is "eager", or a mode of `torch.compile`; "..., cells" does without `nn.LSTM`."""

    def __init__(self, problem: Problem, variant: str) -> None:
        size = problem.size
        self.size = size
        self.operands: list[tuple[Tensor, Tensor, Tensor, int]] = []
        self.precision = problem.precision
        self.device = torch.device(problem.device)
        torch.set_float32_matmul_precision("highest" if problem.precision == "fp32" else "high")
        torch.backends.cudnn.allow_tf32 = problem.precision != "fp32"

        args = SimpleNamespace(
            input_size=size.frame,
            hidden_size=size.hidden,
            output_size=size.frame,
            num_layers=size.layers,
        )
        self.model = Seq2Seq(args)
        weights = {name: torch.from_numpy(array) for name, array in problem.weights().items()}
        self.model.load_state_dict(weights)
        self.model.to(self.device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), LEARNING_RATE, fused=True)
        self.scaler = torch.amp.GradScaler(problem.device, enabled=problem.precision == "fp16")
        batches = problem.batches()
        self.past = batches[0][0]
        self.batches = [
            (torch.from_numpy(past).to(self.device), torch.from_numpy(future).to(self.device))
            for past, future in batches
        ]
        self.forward: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = self.model
        self.compiled = variant != "eager"
        if self.compiled:
            mode, _, cells = variant.partition(", ")
            if cells:
                for part in self.model.children():
                    if isinstance(part, Encoder | Decoder):
                        part.lstm = LSTM(part.lstm)
            self.forward = torch.compile(self.model, mode=mode)

    def train(self, batches: int) -> None:
        """Update the weights on `batches` batches."""
        for batch in self.batches[:batches]:
            self._update(*batch)
        self._wait()

    def loss_curve(self, updates: int) -> list[list[float]]:
        """Update on one batch after the other; the losses before each update."""
        return [[loss.item() for loss in self._update(*batch)] for batch in self.batches[:updates]]

    def gradients(self) -> dict[str, Array]:
        """Gradients of the total loss of the first batch."""
        self.optimizer.zero_grad()
        self._losses(*self.batches[0])[2].backward()
        return {
            name: parameter.grad.cpu().numpy()
            for name, parameter in self.model.named_parameters()
            if parameter.grad is not None
        }

    def products(self) -> None:
        """The products of one training step by libtorch's sgemm, and nothing else: the limit."""
        if not self.operands:
            shapes = self.size.products()
            self.operands = [
                (torch.rand(m, k), torch.rand(k, n), torch.empty(m, n), times)
                for (m, n, k), times in shapes.items()
            ]
        for a, b, out, times in self.operands:
            for _ in range(times):
                torch.mm(a, b, out=out)

    def _update(self, past: Tensor, future: Tensor) -> tuple[Tensor, Tensor]:
        self.optimizer.zero_grad()
        reconstruct, predict, total = self._losses(past, future)
        self.scaler.scale(total).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return reconstruct.detach(), predict.detach()

    def _losses(self, past: Tensor, future: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self.compiled:  # else it would only import the compiler
            torch.compiler.cudagraph_mark_step_begin()
        with self._autocast():
            reconstruct, predict = self.forward(past, future)
        return reconstruct, predict, reconstruct + predict

    def _autocast(self) -> AbstractContextManager[object]:
        if self.precision not in HALF:
            return nullcontext()
        return torch.autocast(self.device.type, HALF[self.precision])

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    # -- inference: arrays go in and come out, as from backcast; `kept` leaves all on the device ---

    def encode(self, *, kept: bool = False) -> Array | None:
        """Embeddings of the first batch."""
        with torch.inference_mode(), self._autocast():
            return self._out(self.model.encoder(self._past(kept))[0][-1], kept)

    def reconstruct(self, *, kept: bool = False) -> Array | None:
        """The first batch's pasts, rebuilt, in their own order."""
        with torch.inference_mode(), self._autocast():
            past = self._past(kept)
            frames = self._decode(self.model.reconstruct_decoder, past, past.shape[1])
            return self._out(frames.flip(1), kept)

    def predict(self, steps: int, *, kept: bool = False) -> Array | None:
        """So many frames after the first batch's pasts."""
        with torch.inference_mode(), self._autocast():
            frames = self._decode(self.model.predict_decoder, self._past(kept), steps)
            return self._out(frames, kept)

    def _past(self, kept: bool) -> Tensor:
        return self.batches[0][0] if kept else torch.from_numpy(self.past).to(self.device)

    def _out(self, frames: Tensor, kept: bool) -> Array | None:
        if kept:
            self._wait()
            return None
        return np.asarray(frames.float().cpu().numpy())

    def _decode(self, decoder: Decoder, past: Tensor, steps: int) -> Tensor:
        """The seed's loop over the steps."""
        hidden = self.model.encoder(past)
        frame = torch.zeros_like(past[:, :1])
        frames = []
        for _ in range(steps):
            frame, hidden = decoder(frame, hidden)
            frames.append(frame)
        return torch.cat(frames, dim=1)
