"""Every contestant computes what the reference does: gradients, and losses while Adam updates.

Not in the ordinary run: pytest tests/benches
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import training
from problem import DECODERS, LEARNING_RATE, Problem
from reference import Seq2Seq, gradients
from sizes import Size
from training import CONTESTANTS, TOLERANCE
from worker import Failed, Worker

CASES = [
    pytest.param(contestant, variant.name, id=f"{contestant.name} {variant.name}".strip())
    for contestant in CONTESTANTS
    for variant in contestant.variants
    if variant.device != "cuda" and not variant.flags
]
SIZES = [Size(3, 4, 5, 6, 1), Size(3, 4, 5, 6, 2)]
UPDATES = 6


def reference(problem: Problem) -> tuple[Seq2Seq, list[tuple[torch.Tensor, ...]]]:
    """The reference in float64, with the problem's weights and batches."""
    model = Seq2Seq(problem.size.frame, problem.size.hidden, problem.size.layers).double()
    weights = {name: torch.from_numpy(array) for name, array in problem.weights().items()}
    model.load_state_dict(weights)
    batches = [tuple(torch.from_numpy(s).double() for s in batch) for batch in problem.batches()]
    return model, batches


def contestant(which: training.Contestant, problem: Problem, variant: str) -> Any:
    """The contestant itself, in this process."""
    module, _, name = which.where.partition(":")
    return getattr(pytest.importorskip(module, exc_type=ModuleNotFoundError), name)(
        problem, variant
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(("which", "variant"), CASES)
def test_gradients_are_the_references(which: training.Contestant, variant: str, size: Size) -> None:
    problem = Problem(size, UPDATES, "cpu", "fp32")
    model, batches = reference(problem)
    expected = gradients(model, model(*batches[0]).total)
    found = contestant(which, problem, variant).gradients()
    assert sorted(found) == sorted(expected)
    for name, gradient in expected.items():
        torch.testing.assert_close(
            torch.tensor(np.array(found[name])).double(), gradient, rtol=1e-5, atol=1e-7
        )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(("which", "variant"), CASES)
def test_losses_fall_as_the_references(
    which: training.Contestant, variant: str, size: Size
) -> None:
    problem = Problem(size, UPDATES, "cpu", "fp32")
    curve = contestant(which, problem, variant).loss_curve(UPDATES)
    np.testing.assert_allclose(curve, reference_curve(problem), rtol=2e-6)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("precision", ["tf32", "bf16", "fp16"])
@pytest.mark.parametrize(
    ("which", "variant"), [case for case in CASES if case.values[0].name != "backcast"]
)
def test_peers_at_lower_precision_compute_nearly_the_same(
    which: training.Contestant, variant: str, precision: str
) -> None:
    if which.where.startswith("pytorch") and precision == "fp16":
        pytest.skip("PyTorch's LSTM does not do float16 on every CPU")
    problem = Problem(SIZES[1], UPDATES, "cpu", precision)
    curve = contestant(which, problem, variant).loss_curve(UPDATES)
    np.testing.assert_allclose(curve, reference_curve(problem), rtol=TOLERANCE[precision])


def test_a_worker_reports_why_it_failed() -> None:
    problem = Problem(SIZES[0], UPDATES, "cpu", "fp32")
    with pytest.raises(Failed, match="no_such_package is not installed"):
        Worker("no_such_package:Nobody", problem)
    with pytest.raises(Failed, match="nonsense"):
        Worker("jax_by_hand:JaxByHand", Problem(SIZES[0], UPDATES, "nonsense", "fp32"))


def reference_curve(problem: Problem) -> list[list[float]]:
    """The reference's losses before each update by `torch.optim.Adam`."""
    model, batches = reference(problem)
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    curve = []
    for batch in batches:
        result = model(*batch)
        curve.append([result.losses[name].item() for name in DECODERS])
        optimizer.zero_grad()
        result.total.backward()
        optimizer.step()
    return curve
