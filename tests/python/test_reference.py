"""The reference is itself checked, against the seed's own program and against `nn.LSTM`."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

import seed
from reference import PlainLSTM, Seq2Seq, gradients, pad

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


@pytest.mark.parametrize("inputs", [None, D])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_plain_lstm_is_an_lstm_or_one_fed_with_zeros(layers: int, inputs: int | None) -> None:
    torch.manual_seed(1)
    plain = PlainLSTM(inputs, H, layers, peepholes=False).double()
    full = nn.LSTM(D, H, layers, batch_first=True).double()
    missing = full.load_state_dict(plain.state_dict(), strict=False)
    assert missing.missing_keys == (["weight_ih_l0"] if inputs is None else [])
    assert missing.unexpected_keys == []

    h, c = torch.randn(2, layers, N, H, dtype=torch.float64)
    frames = torch.randn(N, T, D, dtype=torch.float64)
    if inputs is None:
        frames.zero_()
    expected, _ = full(frames, (h, c))
    for step in range(T):
        output, (h, c) = plain(frames[:, step : step + 1], (h, c))
        torch.testing.assert_close(output[:, 0], expected[:, step], rtol=0, atol=1e-14)


def test_peepholes_are_those_of_the_papers_equations() -> None:
    """Section 2.1: i and f see the cell before the step, o the cell after it."""
    torch.manual_seed(3)
    layer = PlainLSTM(D, H, 1, peepholes=True).double()
    x, h, c = (torch.randn(N, size, dtype=torch.float64) for size in (D, H, H))
    weight = {name.removesuffix("_l0"): p for name, p in layer.named_parameters()}
    sums = x @ weight["weight_ih"].T + h @ weight["weight_hh"].T
    sums = (sums + weight["bias_ih"] + weight["bias_hh"]).reshape(N, 4, H)
    to_i, to_f, to_o = weight["weight_ch"].reshape(3, H)
    i = torch.sigmoid(sums[:, 0] + to_i * c)
    f = torch.sigmoid(sums[:, 1] + to_f * c)
    after = f * c + i * torch.tanh(sums[:, 2])
    o = torch.sigmoid(sums[:, 3] + to_o * after)
    output, (_, cell) = layer(x[:, None], (h[None], c[None]))
    torch.testing.assert_close(cell[0], after, rtol=0, atol=1e-14)
    torch.testing.assert_close(output[:, 0], o * torch.tanh(after), rtol=0, atol=1e-14)


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
