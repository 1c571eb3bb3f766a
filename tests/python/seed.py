"""The PyTorch program that this package implements, word for word.

From a blog post of 30 May 2025 on Srivastava, Mansimov and Salakhutdinov, "Unsupervised Learning of
Video Representations using LSTMs" (ICML 2015). Only long lines are broken and types are added;
nothing else is changed.
"""

from types import SimpleNamespace

import torch
from torch import Tensor, nn


class Encoder(nn.Module):
    def __init__(self, input_size: int, hidden_size: int, num_layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(input_size, hidden_size, num_layers, batch_first=True)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.lstm(x)[1]  # (hidden, cell)


class Decoder(nn.Module):
    def __init__(
        self, input_size: int, hidden_size: int, output_size: int, num_layers: int
    ) -> None:
        super().__init__()
        self.lstm = nn.LSTM(input_size, hidden_size, num_layers, batch_first=True)
        self.fc = nn.Linear(hidden_size, output_size)

    def forward(
        self, x: Tensor, hidden: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        output, hidden = self.lstm(x, hidden)
        return self.fc(output), hidden


class Seq2Seq(nn.Module):
    def __init__(self, args: SimpleNamespace) -> None:
        super().__init__()
        self.encoder = Encoder(args.input_size, args.hidden_size, args.num_layers)
        self.reconstruct_decoder = Decoder(
            args.input_size, args.hidden_size, args.output_size, args.num_layers
        )
        self.predict_decoder = Decoder(
            args.input_size, args.hidden_size, args.output_size, args.num_layers
        )
        self.criterion = nn.MSELoss()

    def forward(self, src: Tensor, trg: Tensor) -> tuple[Tensor, Tensor]:
        encoder_hidden = self.encoder(src)
        # Prediction
        predict_input = torch.zeros_like(src[:, :1])
        predict_outputs = []
        hidden = encoder_hidden
        for _ in range(trg.size(1)):
            out, hidden = self.predict_decoder(predict_input, hidden)
            predict_outputs.append(out)
            predict_input = out.detach()
        predict_output = torch.cat(predict_outputs, dim=1)
        predict_loss = self.criterion(predict_output, trg)

        # Reconstruction (reverse)
        inv_idx = torch.arange(src.size(1) - 1, -1, -1)
        reconstruct_input = torch.zeros_like(src[:, :1])
        reconstruct_outputs = []
        hidden = encoder_hidden
        for _ in range(src.size(1)):
            out, hidden = self.reconstruct_decoder(reconstruct_input, hidden)
            reconstruct_outputs.append(out)
            reconstruct_input = out.detach()
        reconstruct_output = torch.cat(reconstruct_outputs, dim=1)
        reconstruct_loss = self.criterion(reconstruct_output, src[:, inv_idx, :])

        return reconstruct_loss, predict_loss
