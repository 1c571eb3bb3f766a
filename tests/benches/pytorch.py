"""The seed's program on PyTorch, word for word, eager or under `torch.compile`.

The batches are tensors on the device before the clock starts. Adam is the fused one.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from problem import LEARNING_RATE, Array, Problem
from torch import Tensor

sys.path.append(str(Path(__file__).parent.parent / "python"))

from seed import Decoder, Seq2Seq  # noqa: E402

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


class PyTorch:
    """`variant` is "eager", or a mode of `torch.compile`; "..., rnn" traces through `nn.LSTM`."""

    def __init__(self, problem: Problem, variant: str) -> None:
        size = problem.size
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
        self.past = problem.windows()[0][: size.batch]
        self.batches = [
            (torch.from_numpy(past).to(self.device), torch.from_numpy(future).to(self.device))
            for past, future in problem.batches()
        ]
        self.forward = self.model
        if variant != "eager":
            mode, _, through = variant.partition(", ")
            if through:
                # By default the compiler does not look into `nn.LSTM` but calls it as it is. On the
                # CPU it then knows no gradient of oneDNN's LSTM, which must be off.
                torch._dynamo.config.allow_rnn = True
                torch.backends.mkldnn.enabled = False
            self.forward = torch.compile(self.model, mode=mode)

    def train(self, batches: int) -> None:
        """Update the weights on so many batches."""
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

    def _update(self, past: Tensor, future: Tensor) -> tuple[Tensor, Tensor]:
        self.optimizer.zero_grad()
        reconstruct, predict, total = self._losses(past, future)
        self.scaler.scale(total).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return reconstruct.detach(), predict.detach()

    def _losses(self, past: Tensor, future: Tensor) -> tuple[Tensor, Tensor, Tensor]:
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

    # -- inference: NumPy arrays go in and come out, as from backcast; `kept` leaves them on the device

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
