"""What does not fit into memory ends in an OutOfMemoryError, and the process goes on."""

import subprocess
import sys
from pathlib import Path

CODE = """
import sys, resource, numpy as np, warnings
from pathlib import Path
from backcast import AnomalyDetector, Classifier, Model
from backcast.errors import OutOfMemoryError
warnings.simplefilter("ignore")
small = dict(hidden_size=64, max_iter=2, device="cpu", verbose=0, random_state=0)
x = np.random.default_rng(0).normal(size=(1000, 40, 8)).astype("f4")
y = np.arange(len(x)) % 3
listed = [one[: 10 + i % 30] for i, one in enumerate(x)]
model = Model(**small).fit(x[:8])
states = np.repeat(model.encode(x[:8], state="full"), 200, 0)
folder = sys.argv[1]
model.save(folder + "/model")
calls = {
    "fit": lambda: Model(**small | dict(batch_size=1000)).fit(x),
    "fit a list": lambda: Model(horizon=2, **small | dict(batch_size=1000)).fit(listed),
    "fit with a scale": lambda: Model(scale="standard", **small).fit(x),
    "fit wide": lambda: Model(**small | dict(hidden_size=1500)).fit(x[:8]),
    "classifier": lambda: Classifier(**small | dict(batch_size=1000)).fit(x, y),
    "encode": lambda: model.set_params(batch_size=1000).encode(x),
    "encode by the mean": lambda: model.set_params(pooling="mean").encode(x),
    "predict": lambda: model.predict(x, steps=200),
    "decode": lambda: model.decode(states, steps=400),
    "trace": lambda: model.trace(x, steps=20),
    "losses": lambda: model.losses(x),
    "save": lambda: model.save(folder + "/other"),
    "load": lambda: Model.load(folder + "/model", device="cpu"),
    "copy": lambda: __import__("pickle").loads(__import__("pickle").dumps(model)),
}
for name, call in calls.items():
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    for megabytes in (0, 4, 30, 120, None):
        limit = resource.RLIM_INFINITY
        if megabytes is not None:
            limit = pages * resource.getpagesize() + megabytes * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        try:
            call()
            said = "done"
        except MemoryError as error:
            said = type(error).__name__
        print(name, megabytes, said, sep=",", flush=True)
"""


def test_little_memory_never_ends_the_process(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CODE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, (done.stdout[-100:], done.stderr[-2000:])
    said = [line.split(",") for line in done.stdout.splitlines()]
    assert len({name for name, _, _ in said}) == 14
    assert {what for _, _, what in said} <= {"done", "OutOfMemoryError", "MemoryError"}
    # Some of the limits are too low, and without one every call goes on.
    refused = {name for name, _, what in said if what == "OutOfMemoryError"}
    assert len(refused) > 5
    assert all(what == "done" for _, megabytes, what in said if megabytes == "None")
