"""Ctrl-C and losses that are not finite stop a training; the model stays usable."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from backcast import Model
from backcast._training.progress import Progress
from backcast.errors import DivergedError
from small import X, assert_same_weights, small_model, windows

ENDLESS = 10**9  # updates


@contextmanager
def ctrl_c(after: float) -> Iterator[None]:
    """Press Ctrl-C once, after `after` seconds."""
    timer = threading.Timer(after, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def finite(model: Model) -> bool:
    return all(np.isfinite(array).all() for array in model.state_dict().values())


def test_ctrl_c_stops_a_training_within_a_batch() -> None:
    model = small_model(max_iter=ENDLESS)
    start = time.monotonic()
    with ctrl_c(after=0.3), pytest.raises(KeyboardInterrupt):
        model.fit(X)
    assert 0.2 < time.monotonic() - start < 5
    assert model.n_iter_ > 0


def test_an_interrupted_model_has_the_weights_of_its_last_update() -> None:
    model = small_model(max_iter=ENDLESS)
    with ctrl_c(after=0.2), pytest.raises(KeyboardInterrupt):
        model.fit(X)
    done = model.n_iter_
    assert_same_weights(model, small_model(max_iter=done).fit(X))
    assert model.predict(X).shape == (12, 4, 3)
    assert np.isfinite(model.score(X))


def test_the_history_of_an_interrupted_training_reaches_its_last_update() -> None:
    model = small_model(max_iter=ENDLESS)
    with ctrl_c(after=0.2), pytest.raises(KeyboardInterrupt):
        model.fit(X)
    assert model.history_[-1]["step"] == model.n_iter_


def test_a_report_interrupted_by_ctrl_c_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    report = Progress.on_report

    def interrupted(self: Progress, step: int, *rest: Any) -> None:
        if step == 3:
            monkeypatch.undo()
            raise KeyboardInterrupt
        report(self, step, *rest)

    monkeypatch.setattr(Progress, "on_report", interrupted)
    model = small_model()
    with pytest.raises(KeyboardInterrupt):
        model.fit(X)
    assert [record["step"] for record in model.history_] == [1, 2, 3]
    unbroken = small_model().fit(X).history_[:3]
    assert [r["loss"] for r in model.history_] == [r["loss"] for r in unbroken]


def test_an_interrupted_model_can_continue() -> None:
    model = small_model(max_iter=ENDLESS, warm_start=True)
    for _ in range(2):
        with ctrl_c(after=0.1), pytest.raises(KeyboardInterrupt):
            model.fit(X)
    done = model.n_iter_
    model.partial_fit(X)
    assert done < model.n_iter_ <= done + 3
    assert small_model().fit(X).score(X) < 0
    assert_same_weights(model.set_params(max_iter=4, warm_start=False).fit(X), small_model().fit(X))


def test_ctrl_c_stops_the_bar_too(capfd: pytest.CaptureFixture[str]) -> None:
    with ctrl_c(after=0.3), pytest.raises(KeyboardInterrupt):
        small_model(max_iter=ENDLESS, verbose=1).fit(X)
    assert "step/s" in capfd.readouterr().err


@pytest.mark.parametrize("method", ["encode", "reconstruct", "predict", "losses"])
def test_ctrl_c_stops_inference(method: str) -> None:
    model = small_model(batch_size=1).fit(X)
    many = np.broadcast_to(X[:1], (10**6, *X.shape[1:]))
    start = time.monotonic()
    with ctrl_c(after=0.2), pytest.raises(KeyboardInterrupt):
        getattr(model, method)(many)
    assert time.monotonic() - start < 5
    assert model.encode(X).shape == (12, 6)


def test_ctrl_c_before_the_first_update_leaves_the_model_as_it_was() -> None:
    model = small_model().fit(X)
    before = model.state_dict()
    # As one batch, all of this is checked for NaN before the training begins.
    many = np.broadcast_to(windows(n=1, frame_shape=(500,)), (10**6, 8, 500))
    with ctrl_c(after=0.1), pytest.raises(KeyboardInterrupt):
        model.set_params(batch_size=10).fit(many)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    assert model.n_iter_ == 4
    assert model.encode(X).shape == (12, 6)


def test_other_signals_are_handled_while_a_model_trains() -> None:
    seen: list[int] = []

    def stop(number: int, _: Any) -> None:
        seen.append(number)
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        model = small_model(max_iter=ENDLESS)
        with pytest.raises(TimeoutError):
            model.fit(X)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert seen == [signal.SIGALRM]
    assert model.n_iter_ > 0


def test_a_script_ends_as_python_scripts_do() -> None:
    code = (
        "import numpy as np; from backcast import Model;"
        "print('ready', flush=True);"
        "Model(6, max_iter=10**9, device='cpu', verbose=0).fit(np.zeros((4, 4, 1)))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT
    assert "\nKeyboardInterrupt: training stopped after update " in error


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_a_diverging_loss_stops_with_finite_weights(optimizer: str) -> None:
    model = small_model(learning_rate=1e20, optimizer=optimizer, max_iter=100)
    with pytest.raises(DivergedError, match="smaller learning_rate, max_grad_norm=1.0, or inputs"):
        model.fit(X)
    assert 0 < model.n_iter_ < 100
    assert finite(model)


def test_a_diverged_model_keeps_the_weights_of_the_last_finite_update() -> None:
    model = small_model(learning_rate=1e20, max_iter=100)
    with pytest.raises(DivergedError, match=r"became (NaN|inf|-inf) at update (\d+)") as caught:
        model.fit(X)
    done = model.n_iter_
    assert f"at update {done + 1}" in str(caught.value)
    assert_same_weights(model, small_model(learning_rate=1e20, max_iter=done).fit(X))
    assert [record["step"] for record in model.history_] == list(range(1, done + 1))
    model.set_params(learning_rate=0.01).fit(X)
    assert np.isfinite(model.score(X))


def test_a_loss_too_large_for_a_float_is_an_error_at_once() -> None:
    model = small_model()
    with pytest.raises(DivergedError, match="at update 1; the weights are those of the last"):
        model.fit(X * np.float32(1e30))
    assert finite(model)
