"""The reference is itself checked, against the seed's own program and against `nn.LSTM`."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

import seed
from reference import Seq2Seq, UnconditionalLSTM, gradients, pad

N, T, F, D, H = 4, 5, 3, 2, 6


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_default_reference_is_the_seeds_program(layers: int) -> None:
    torch.manual_seed(0)
    args = SimpleNamespace(input_size=D, hidden_size=H, output_size=D, num_layers=layers)
    original = seed.Seq2Seq(args).double()
    reference = Seq2Seq(D, H, layers).double()
    reference.load_state_dict(original.state_dict())
    past = torch.randn(N, T, D, dtype=torch.float64)
    future = torch.randn(N, F, D, dtype=torch.float64)

    expected = original(past, future)
    result = reference(past, future)
    torch.testing.assert_close(result.losses["reconstruct"], expected[0], rtol=1e-13, atol=0)
    torch.testing.assert_close(result.losses["predict"], expected[1], rtol=1e-13, atol=0)

    sum(expected).backward()
    found = gradients(reference, result.total)
    for name, parameter in original.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_unconditional_lstm_is_an_lstm_fed_with_zeros(layers: int) -> None:
    torch.manual_seed(1)
    unconditional = UnconditionalLSTM(H, layers).double()
    full = nn.LSTM(D, H, layers, batch_first=True).double()
    missing = full.load_state_dict(unconditional.state_dict(), strict=False)
    assert missing.missing_keys == ["weight_ih_l0"]
    assert missing.unexpected_keys == []

    h, c = torch.randn(2, layers, N, H, dtype=torch.float64)
    expected, _ = full(torch.zeros(N, T, D, dtype=torch.float64), (h, c))
    nothing = torch.empty(0)
    for step in range(T):
        output, (h, c) = unconditional(nothing, (h, c))
        torch.testing.assert_close(output[:, 0], expected[:, step], rtol=0, atol=1e-14)


def test_padded_sequences_give_the_losses_of_each_run_alone() -> None:
    torch.manual_seed(2)
    model = Seq2Seq(D, H, 2).double()
    pasts = [torch.randn(length, D, dtype=torch.float64) for length in (4, 1, 6)]
    futures = [torch.randn(length, D, dtype=torch.float64) for length in (2, 5, 0)]
    past, past_valid = pad(pasts, "left")
    future, future_valid = pad(futures, "right")
    together = model(past, future, past_valid, future_valid).losses

    alone = [model(p[None], f[None]).losses for p, f in zip(pasts, futures, strict=True)]
    for name, sequences in (("reconstruct", pasts), ("predict", futures)):
        frames = torch.tensor([len(sequence) for sequence in sequences], dtype=torch.float64)
        losses = torch.stack([losses[name] for losses in alone])
        expected = (losses * frames).sum() / frames.sum()
        torch.testing.assert_close(together[name], expected, rtol=1e-13, atol=0)


@pytest.mark.parametrize("loss", ["mse", "bce"])
@pytest.mark.parametrize("feedback", ["output", "truth"])
def test_given_frames_lead_to_the_gradients_of_the_feedback_that_made_them(
    feedback: str, loss: str
) -> None:
    torch.manual_seed(3)
    model = Seq2Seq(D, H, 2, feedback=feedback, loss=loss).double()
    past = torch.rand(N, T, D, dtype=torch.float64)
    future = torch.rand(N, F, D, dtype=torch.float64)
    first = model(past, future)
    again = model(past, future, given=first.fed)
    assert torch.equal(first.total, again.total)
    torch.testing.assert_close(
        gradients(model, again.total), gradients(model, first.total), rtol=1e-10, atol=1e-15
    )
