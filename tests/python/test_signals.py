"""Ctrl-C and losses that are not finite stop a training; the model stays usable."""

import copy
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backcast import Model
from backcast._training.progress import Progress
from backcast.errors import BusyError, DivergedError
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


def long_windows(n: int = 128, length: int = 1_000) -> Any:
    return np.broadcast_to(np.float32(0.5), (n, length, 16))


def wide_model(**params: Any) -> Model:
    """A model of which a single batch of `long_windows` takes some seconds."""
    defaults: dict[str, Any] = {"hidden_size": 512, "batch_size": 128, "max_iter": 1}
    return small_model(**defaults | params)


@pytest.fixture(scope="module")
def wide() -> Model:
    return wide_model().fit(long_windows(2, 4))


LONG: dict[str, Any] = {
    "encode": lambda model: model.encode(long_windows()),
    "encode by the mean": lambda model: model.set_params(pooling="mean").encode(long_windows()),
    "predict many steps": lambda model: model.predict(long_windows(length=4), steps=4_000),
    "reconstruct": lambda model: model.reconstruct(long_windows()),
    "score": lambda model: model.score(long_windows()),
    "trace": lambda model: model.trace(long_windows(32), steps=4),
    "fit": lambda model: model.fit(long_windows()),
    "fit in 16 bits": lambda model: model.set_params(precision="bf16").fit(
        long_windows(length=300)
    ),
    "the first weights": lambda model: model.set_params(hidden_size=3_000).fit(long_windows(2, 4)),
    "fit with dropout": lambda model: model.set_params(dropout=0.5, num_layers=2).fit(
        long_windows(length=500)
    ),
    "partial_fit": lambda model: model.partial_fit(long_windows()),
    "a large result": lambda model: model.predict(
        np.broadcast_to(np.float32(0.5), (500_000, 2, 16)), steps=20
    ),
}


@pytest.mark.parametrize(
    ("what", "threads"), [*((what, 1) for what in LONG), ("encode", 2), ("fit", 2)]
)
def test_ctrl_c_stops_a_long_batch(what: str, threads: int, wide: Model) -> None:
    model = copy.deepcopy(wide).set_params(num_threads=threads)
    before = model.state_dict()
    pressed = []

    def press() -> None:
        pressed.append(time.process_time())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(0.5, press)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        LONG[what](model)
    # Of this process, as others may use the cores too.
    late = (time.process_time() - pressed[0]) / threads
    timer.join()
    assert late < 1.0
    # What was interrupted changed nothing, and the model goes on.
    model.set_params(**wide.get_params())
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    np.testing.assert_array_equal(model.encode(long_windows(3, 5)), wide.encode(long_windows(3, 5)))


def test_a_handler_may_use_models_in_the_middle_of_a_batch(wide: Model) -> None:
    other = small_model().fit(X)
    expected = other.encode(X)
    found: list[Any] = []

    def use(*_: Any) -> None:
        found.append(other.encode(X))
        with pytest.raises(BusyError):
            wide.encode(long_windows(2, 4))
        found.append(other.partial_fit(X).n_iter_)

    before = signal.signal(signal.SIGALRM, use)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        whole = wide.set_params(num_threads=2).encode(long_windows(length=200))
    finally:
        signal.signal(signal.SIGALRM, before)
    np.testing.assert_array_equal(found[0], expected)
    assert found[1] == 7
    np.testing.assert_array_equal(whole, wide.encode(long_windows(length=200)))


def test_sigterm_as_an_exit_writes_the_checkpoint(tmp_path: Path) -> None:
    def leave(*_: Any) -> None:
        sys.exit(3)

    before = signal.signal(signal.SIGTERM, leave)
    timer = threading.Timer(0.4, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    model = small_model(max_iter=ENDLESS)
    try:
        with pytest.raises(SystemExit) as caught:
            model.fit(X, checkpoint=tmp_path / "run")
    finally:
        signal.signal(signal.SIGTERM, before)
        timer.join()
    assert caught.value.code == 3
    saved = Model.load(tmp_path / "run", device="cpu")
    assert saved.n_iter_ == model.n_iter_ > 0
    assert_same_weights(saved, model)


RATES = [1e3, 1e20, 1e30, 1e38, 1e39, 1e100, 1.7e308]


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop"])
@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_weights_stay_finite_whatever_the_rate(optimizer: str, loss: str) -> None:
    for rate, decay in [
        *((rate, 0.0) for rate in RATES),
        *((1.0, decay) for decay in RATES),
        *((rate, 1e5) for rate in (0.0, 1e-38, 1e5, 1e38)),
        *((decay, rate) for decay, rate in zip(RATES, RATES, strict=True)),
    ]:
        model = small_model(
            optimizer=optimizer, loss=loss, learning_rate=rate, weight_decay=decay, max_iter=30
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                model.fit(X)
            except DivergedError as error:
                assert f"at update {model.n_iter_ + 1}" in str(error)
                assert "the weights are those of the last finite update" in str(error)
        assert finite(model), (rate, decay)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop"])
def test_a_refused_update_changes_no_moment(optimizer: str) -> None:
    model = small_model(optimizer=optimizer, max_iter=2).fit(X)
    before = model._fitted.core.training_state()
    with pytest.raises(DivergedError, match="a weight became"):
        model.set_params(learning_rate=1e300).partial_fit(X)
    after = model._fitted.core.training_state()
    assert before[2][:2] == after[2][:2]
    for old, new in zip(before[:2], after[:2], strict=True):
        for name, array in old.items():
            np.testing.assert_array_equal(array, new[name])
    assert finite(model)
    model.set_params(learning_rate=0.01).partial_fit(X)
    assert np.isfinite(model.score(X))


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_a_diverging_loss_stops_with_finite_weights(optimizer: str) -> None:
    model = small_model(learning_rate=1e20, optimizer=optimizer, max_iter=100)
    with pytest.raises(DivergedError, match="smaller learning_rate, scaled numbers"):
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
