"""One model serves one thread at a time; training leaves the interpreter to the others."""

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from backcast import Model
from backcast._training.progress import Progress
from backcast.errors import BusyError
from small import FUTURE, PAST, X, assert_same_weights, small_model, windows


@contextmanager
def in_training(model: Model, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have another thread train `model`, up to its first report and, at the end, no further."""
    training, ended = threading.Event(), threading.Event()

    def hold(self: Progress, *_: Any) -> None:
        training.set()
        assert ended.wait(30)

    def train() -> None:
        model.fit(X)

    monkeypatch.setattr(Progress, "on_report", hold)
    thread = threading.Thread(target=train)
    thread.start()
    try:
        assert training.wait(30)
        yield
    finally:
        ended.set()
        thread.join()


USES: dict[str, Callable[[Model], Any]] = {
    "fit": lambda m: m.fit(X),
    "partial_fit": lambda m: m.partial_fit(X),
    "encode": lambda m: m.encode(X),
    "reconstruct": lambda m: m.reconstruct(X),
    "predict": lambda m: m.predict(X),
    "decode": lambda m: m.decode(np.zeros((1, 12)), steps=1),
    "losses": lambda m: m.losses(X),
    "state_dict": lambda m: m.state_dict(),
    "n_iter_": lambda m: m.n_iter_,
}


@pytest.mark.parametrize("use", USES)
def test_a_model_in_use_by_another_thread_is_busy(
    use: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small_model()
    with in_training(model, monkeypatch):
        with pytest.raises(BusyError, match="in use by another thread; give each thread its own"):
            USES[use](model)
    monkeypatch.undo()
    assert_same_weights(model, small_model().fit(X))  # the other thread was not disturbed


def test_a_model_is_not_fitted_for_the_first_time_by_two_threads_at_once() -> None:
    reading, ended = threading.Event(), threading.Event()

    class Held:
        shape, dtype = X.shape, X.dtype

        def __getitem__(self, key: Any) -> Any:
            reading.set()
            assert ended.wait(30)
            return X[key]

    model = small_model(scale="standard")  # learnt before there is anything to train
    thread = threading.Thread(target=model.fit, args=(Held(),))
    thread.start()
    try:
        assert reading.wait(30)
        with pytest.raises(BusyError, match="in use by another thread; give each thread its own"):
            model.fit(X)
    finally:
        ended.set()
        thread.join()
    assert_same_weights(model, small_model(scale="standard").fit(X))


def test_a_model_may_not_be_used_by_its_own_progress_report(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = small_model()
    monkeypatch.setattr(Progress, "on_report", lambda *_: model.encode(X))
    with pytest.raises(BusyError):
        model.fit(X)


def test_models_of_their_own_train_side_by_side() -> None:
    seeds = range(6)
    alone = [small_model(random_state=seed, max_iter=20).fit(X) for seed in seeds]
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(small_model(random_state=s, max_iter=20).fit, X) for s in seeds]
        for job, expected in zip(jobs, alone, strict=True):
            assert_same_weights(job.result(), expected)


def test_many_threads_get_right_numbers_or_the_error() -> None:
    model = small_model().fit(PAST, FUTURE)
    expected = model.predict(PAST)
    outcomes = []

    def ask() -> None:
        for _ in range(50):
            try:
                outcomes.append(np.array_equal(model.predict(PAST), expected))
            except BusyError:
                outcomes.append(None)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 200
    assert False not in outcomes
    assert True in outcomes


def test_other_threads_run_while_a_model_trains() -> None:
    longest, last, stop = 0.0, time.monotonic(), threading.Event()

    def tick() -> None:
        nonlocal longest, last
        while not stop.is_set():
            now = time.monotonic()
            longest, last = max(longest, now - last), now
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    # One update of several seconds if it were not interrupted: nothing to report in between.
    start = time.monotonic()
    big = small_model(hidden_size=256, batch_size=400, max_iter=1, num_layers=2)
    big.fit(np.broadcast_to(X[:1, :1], (400, 100, 3)))
    seconds = time.monotonic() - start
    stop.set()
    thread.join()
    assert longest < 0.5 * seconds


SAME = """
import sys
{first}
from backcast import Model
assert ("torch" in sys.modules) == {there}, "torch is imported by those who want it"
{second}
import numpy as np
x = (np.arange(240).reshape(5, 8, 6) % 17 / 16).astype(np.float32)
model = Model(8, num_layers=2, dropout=0.5, max_iter=6, batch_size=2, random_state=0, device="cpu")
model.set_params(verbose=0).fit(x)
print(model.predict(x, steps=3).tobytes().hex(), model.losses(x))
{last}
"""


def test_torch_may_be_imported_before_or_after_or_never() -> None:
    use_torch = "import torch; assert (torch.ones(3, 3) @ torch.ones(3)).sum() == 9"
    nothing = {"first": "", "there": False, "second": "", "last": ""}
    codes = [
        SAME.format(**nothing),
        SAME.format(**nothing | {"first": use_torch, "there": True}),
        SAME.format(**nothing | {"second": use_torch, "last": use_torch}),
    ]
    outputs = []
    for code in codes:
        done = subprocess.run(
            [sys.executable, "-W", "error::UserWarning", "-c", code],
            capture_output=True,
            text=True,
            timeout=120,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    assert len(outputs[0]) > 100
    assert len(set(outputs)) == 1


def test_a_model_goes_through_a_process_pool() -> None:
    model = small_model().fit(X)
    expected = model.encode(X)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(model.encode, (X,)), expected)


def test_a_model_works_in_a_forked_process() -> None:
    # Threads do not come along with a fork, and waiting for them would never end.
    work = """
import os, sys
import numpy as np
from backcast import Model

x = np.random.default_rng(0).random((128, 20, 64), dtype=np.float32)
model = Model(
    128, max_iter=2, batch_size=128, num_threads=2, device="cpu", verbose=0, random_state=0
).fit(x)
expected = model.encode(x)
child = os.fork()
if child == 0:
    same = np.array_equal(model.encode(x), expected)
    os._exit(0 if same and model.partial_fit(x).n_iter_ == 3 else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    subprocess.run([sys.executable, "-c", work], check=True, timeout=60)


TORN = """
import sys, threading, time
import numpy as np
from backcast import Model
from backcast.errors import BusyError
sys.setswitchinterval(1e-5)
rng = np.random.default_rng(0)
past = rng.random((6, 5, 3), dtype=np.float32)
options = dict(hidden_size=8, max_iter=3, scale="standard", learning_rate=0.05, random_state=0)
options |= dict(device="cpu", verbose=0, num_threads=1)
sets = [rng.random((20, 8, 3)) * scale + shift for scale, shift in ((1, 0), (50, 1000), (1e-3, -7))]
expected = {Model(**options).fit(x).predict(past).tobytes() for x in sets}
model = Model(**options).fit(sets[0])
answers, busy, stop = [], 0, time.monotonic() + float(sys.argv[1])

def read():
    global busy
    while time.monotonic() < stop:
        try:
            answers.append(model.predict(past).tobytes())
        except BusyError:
            busy += 1

readers = [threading.Thread(target=read) for _ in range(7)]
for reader in readers:
    reader.start()
fits = 0
while time.monotonic() < stop:
    try:
        model.fit(sets[fits % 3])
        fits += 1
        time.sleep(0.001)
    except BusyError:
        pass
for reader in readers:
    reader.join()
wrong = sum(answer not in expected for answer in answers)
print(fits, len(answers), busy, wrong)
"""


def test_a_reader_gets_the_old_model_the_new_one_or_an_error_while_another_thread_fits() -> None:
    command = [sys.executable, "-c", TORN, "4"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=200)
    fits, answers, _, wrong = map(int, done.stdout.split())
    assert fits > 5 and answers > 5
    assert wrong == 0


SHAPES = {
    "small": {"hidden_size": 16, "frame": 3},
    "two layers, dropout, clipping": {
        "hidden_size": 40,
        "frame": 24,
        "num_layers": 2,
        "dropout": 0.2,
        "max_grad_norm": 0.1,
    },
    "peepholes": {"hidden_size": 33, "frame": 17, "peepholes": True},
    "probabilities": {"hidden_size": 24, "frame": 60, "loss": "bce"},
    "wide": {"hidden_size": 64, "frame": 200},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_weights_do_not_depend_on_the_number_of_threads(shape: str) -> None:
    params: dict[str, Any] = dict(SHAPES[shape])
    x = windows(n=37, length=12, frame_shape=(params.pop("frame"),))
    # 10 epochs of 5 batches, the last of them with 1 window.
    params |= {"max_iter": 10, "batch_size": 9}
    one, *others = (small_model(**params, num_threads=n).fit(x) for n in (1, 2, 3))
    for other in others:
        assert_same_weights(one, other)
        assert [r["loss"] for r in one.history_] == [r["loss"] for r in other.history_]
        np.testing.assert_array_equal(one.encode(x), other.encode(x))


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_an_embedding_does_not_depend_on_its_place_in_the_batch(pooling: str) -> None:
    x = windows(n=23, length=12, frame_shape=(20,))
    model = small_model(hidden_size=40, pooling=pooling, max_iter=1).fit(x)
    expected = model.encode(x)
    for batch_size in (1, 2, 5, 16, 100):
        found = model.set_params(batch_size=batch_size).encode(x)
        np.testing.assert_array_equal(found, expected)
