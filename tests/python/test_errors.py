"""What each public name refuses, with which exception, and in which words.

Of `Model` alone: `test_data.py` and `test_plot.py` hold the tables of `backcast.data` and
`backcast.plot`. Every message says what was expected and what came instead.
"""

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy.sparse import csr_array

from backcast import AnomalyDetector, Embedder, Forecaster, Model, _core, errors
from backcast.data import windows as windows_of_series
from backcast.errors import (
    ArgumentError,
    BackcastError,
    DataError,
    DecoderError,
    DeviceError,
    FileFormatError,
    NotFittedError,
    OutOfMemoryError,
    ShapeError,
)
from small import FUTURE, PAST, X, assert_same_weights, small_model, windows

Action = Callable[[Model], Any]
Case = tuple[Action, type[BackcastError], str]

BYTES = np.zeros(X.shape, np.uint8)


def spoilt(value: float, window: int = 7, x: NDArray[Any] = X) -> NDArray[Any]:
    """Give `x` with one number of one window replaced."""
    x = x.copy()
    x[window, 0, 0] = value
    return x


def missing(window: int = 7) -> NDArray[Any]:
    """Give `X` with one window of which nothing is known."""
    x = X.copy()
    x[window] = np.nan
    return x


def refused(case: Case, model: Model) -> None:
    action, error, message = case
    with pytest.raises(error) as caught:
        action(model)
    assert message in str(caught.value)


# -- before anything is learnt ---------------------------------------------------------------------

NOT_FITTED: dict[str, Action] = {
    "encode": lambda m: m.encode(X),
    "decode": lambda m: m.decode(np.zeros((1, 12))),
    "reconstruct": lambda m: m.reconstruct(X),
    "predict": lambda m: m.predict(X, steps=1),
    "transform": lambda m: m.transform(X),
    "losses": lambda m: m.losses(X),
    "score": lambda m: m.score(X),
    "state_dict": lambda m: m.state_dict(),
    "save": lambda m: m.save("never.safetensors"),
    "n_iter_": lambda m: m.n_iter_,
    "device_": lambda m: m.device_,
    "get_feature_names_out": lambda m: m.get_feature_names_out(),
}


@pytest.mark.parametrize("name", NOT_FITTED)
def test_a_model_that_is_not_fitted_is_an_error(name: str) -> None:
    refused((NOT_FITTED[name], NotFittedError, "not fitted yet; call fit, load"), small_model())


def test_not_fitted_is_reported_before_errors_of_the_data() -> None:
    refused((lambda m: m.encode("nonsense"), NotFittedError, "not fitted"), small_model())


# -- data ------------------------------------------------------------------------------------------

# Each of these is refused by every method that takes frames, in the same words.
BAD_FRAMES: dict[str, tuple[Any, type[BackcastError], str]] = {
    "a number": (3.0, ShapeError, "past must be of at least 3 dimensions"),
    "one window": (X[0], ShapeError, "got shape (8, 3); for one number a frame use x[..., None]"),
    "one number a frame": (X[..., 0], ShapeError, "got shape (12, 8)"),
    "a table": (pd.DataFrame(X[0]), ShapeError, "got shape (8, 3)"),
    "another frame": (X[..., :2], ShapeError, "past must have frames of shape (3,), as the model"),
    "another rank of frame": (X[..., None], ShapeError, "got (3, 1)"),
    "another frame in a list": ([X[0, :, :2]], ShapeError, "got (2,)"),
    "frames that differ": ([X[0], X[1, :, :2]], ShapeError, "past[1] must have frames of shape (3"),
    "a list of series": ([X[0, :, 0]], ShapeError, "past[0] must be of at least 2 dimensions"),
    "ragged lists": ([[[1.0], [2.0, 3.0]]], ShapeError, "past must be an array of numbers"),
    "no window": (X[:0], DataError, "past must hold at least one window, got shape (0, 8, 3)"),
    "an empty list": ([], DataError, "past must hold at least one window, got an empty list"),
    "no number": (X[..., :0], DataError, "past must have frames of at least one number"),
    "NaN": (missing(), DataError, "past must hold at least one number in every window, got NaN"),
    "NaN in float64": (missing().astype(np.float64), DataError, "got NaN alone in window 7"),
    "infinite": (spoilt(np.inf), DataError, "finite numbers, got an infinite number in window 7"),
    "minus infinite": (spoilt(-np.inf), DataError, "got an infinite number in window 7"),
    "too large for float32": (spoilt(1e300, x=X.astype(np.float64)), DataError, "in window 7"),
    "NaN in a list": (list(missing()), DataError, "got NaN alone in window 7"),
    "complex": (
        X.astype(complex),
        DataError,
        "past must hold real numbers, got a ndarray of dtype c",
    ),
    "text": ("frames", DataError, "past must be an array or a table of numbers, got 'frames'"),
    "texts": (X.astype(str), DataError, "past must hold real numbers"),
    "None": (None, DataError, "past must be an array or a table of numbers, got None"),
    "objects": (
        X.astype(object),
        DataError,
        "past must hold real numbers, got a ndarray of dtype o",
    ),
    "sparse": (csr_array(X[0]), DataError, "past must be dense, got a sparse csr_array"),
    "dates": (X.astype("M8[s]"), DataError, "past must hold real numbers"),
    "bytes": (BYTES, DataError, "past must be floats in the units the model was fitted on, got ui"),
}
TAKES_FRAMES: dict[str, Action] = {
    "fit again": lambda m: m.set_params(warm_start=True).fit,
    "partial_fit": lambda m: m.partial_fit,
    "losses": lambda m: m.losses,
    "score": lambda m: m.score,
    "encode": lambda m: m.encode,
    "transform": lambda m: m.transform,
    "reconstruct": lambda m: m.reconstruct,
    "predict": lambda m: m.predict,
}


@pytest.mark.parametrize("method", TAKES_FRAMES)
@pytest.mark.parametrize("what", BAD_FRAMES)
def test_frames_that_cannot_be_used_are_refused(what: str, method: str) -> None:
    frames, error, message = BAD_FRAMES[what]
    if method in ("fit again", "partial_fit", "losses", "score") and "a list" in what:
        # One array would be cut in two by the horizon.
        given: tuple[Any, ...] = (frames, list(FUTURE[: len(frames)]))
    else:
        given = (frames,)
    refused((lambda m: TAKES_FRAMES[method](m)(*given), error, message), small_model().fit(X))


@pytest.mark.parametrize("what", BAD_FRAMES)
def test_a_first_fit_refuses_them_too(what: str) -> None:
    frames, error, message = BAD_FRAMES[what]
    if what in ("another frame", "another rank of frame", "another frame in a list", "bytes"):
        return  # a new model has no frame yet to differ from
    if "list" in what and isinstance(frames, list) and len(frames) and hasattr(frames[0], "shape"):
        refused((lambda m: m.fit(frames, list(FUTURE[: len(frames)])), error, message), new())
    else:
        refused((lambda m: m.fit(frames), error, message), new())


def new() -> Model:
    return small_model()


WINDOWS: list[Case] = [
    (lambda m: m.fit(PAST, FUTURE[:5]), ShapeError, "future must have as many windows as past, 12"),
    (lambda m: m.fit(PAST, FUTURE[..., :2]), ShapeError, "future must have frames of shape (3,)"),
    (lambda m: m.fit(PAST, FUTURE[0]), ShapeError, "future must be of at least 3 dimensions"),
    (
        lambda m: m.fit(PAST, spoilt(np.inf, 2, FUTURE)),
        DataError,
        "future must hold finite numbers",
    ),
    (lambda m: m.losses(PAST, spoilt(np.inf, 2, FUTURE)), DataError, "infinite number in window 2"),
    (
        lambda m: m.fit(X[:, :0], FUTURE),
        ShapeError,
        "past must have at least 1 frame in every wind",
    ),
    (
        lambda m: m.fit([X[0], X[1, :0]], [X[0], X[1]]),
        ShapeError,
        "past must have at least 1 frame",
    ),
    (lambda m: m.encode(X[:, :0]), ShapeError, "past must have at least 1 frame in every window"),
    (lambda m: m.predict([X[0], X[1, :0]]), ShapeError, "past must have at least 1 frame in every"),
    (lambda m: m.losses(X[:, :4]), ShapeError, "longer than the horizon of 4 frames, got 4"),
    (lambda m: m.set_params(horizon=8).fit(X), ShapeError, "longer than the horizon of 8 frames"),
    (lambda m: m.set_params(horizon=2).fit(PAST, FUTURE), ShapeError, "horizon=2 frames, got 3"),
    (lambda m: m.fit([X[0], X[1, :5]]), ArgumentError, "horizon must be given when windows differ"),
    (lambda m: m.decode(np.zeros((2, 11))), ShapeError, "state must be of shape (n, 12)"),
    (lambda m: m.decode(np.zeros(12)), ShapeError, "state must be of shape (n, 12)"),
    (lambda m: m.decode("state"), ShapeError, "state must be an array of numbers"),
    (lambda m: m.decode(np.full((1, 12), np.nan)), DataError, "state must hold finite numbers"),
    (
        lambda m: m.fit(BYTES).encode(X * 2),
        DataError,
        "fitted on uint8 frames, scaled to 0..1), go",
    ),
    (lambda m: m.fit(BYTES).encode(X - 1), DataError, "numbers from 0 to 1"),
    (lambda m: bce(m).fit(X * 2), DataError, 'numbers from 0 to 1 (loss="bce"; or uint8 frames'),
    (lambda m: bce(m).fit(X).losses(X - 1), DataError, "got numbers from"),
    (lambda m: bce(m).fit(PAST, FUTURE * 2), DataError, "future must hold numbers from 0 to 1"),
    (lambda m: m.encode(X, state="all"), ArgumentError, 'state must be "embedding" or "full", got'),
    (lambda m: m.losses(X, per="row"), ArgumentError, '"number", "frame" or "window", got'),
    (lambda m: m.baselines(X, per="window"), ArgumentError, 'must be "number" or "frame", got'),
    (lambda m: m.predict(X, steps=0), ArgumentError, "steps must be at least 1, got 0"),
    (lambda m: m.predict(X, steps=2.5), ArgumentError, "steps must be a whole number, got 2.5"),
    (lambda m: m.predict(X, steps=10**30), ArgumentError, "steps must be at most 9007199254740992"),
    (lambda m: m.predict(X, steps=10**14), OutOfMemoryError, "Try a smaller batch_size"),
    (lambda m: m.decode(np.zeros((1, 12)), steps=-1), ArgumentError, "steps must be at least 1"),
    (lambda m: m.set_params(horizon=0).fit(X), ArgumentError, "horizon must be at least 1 with"),
]


def bce(model: Model) -> Model:
    return model.set_params(loss="bce")


@pytest.mark.parametrize("case", WINDOWS, ids=lambda case: case[2].replace(" ", "-"))
def test_windows_that_do_not_fit_are_refused(case: Case) -> None:
    refused(case, small_model().fit(X))


STATE = np.zeros((1, 12))
NO_DECODER: list[tuple[str, Case]] = [
    ("predict", (lambda m: m.reconstruct(X), DecoderError, "the model has no reconstruct decoder")),
    (
        "reconstruct",
        (lambda m: m.predict(X), DecoderError, "has no predict decoder (decoders='rec"),
    ),
    (
        "reconstruct",
        (lambda m: m.predict(X, steps=3), DecoderError, 'decoders="both" or "predict"'),
    ),
    ("reconstruct", (lambda m: m.decode(STATE), DecoderError, "the model has no predict decoder")),
    ("reconstruct", (lambda m: m.losses(PAST, FUTURE), DecoderError, "future must be None")),
    ("reconstruct", (lambda m: m.fit(PAST, FUTURE), DecoderError, "a window is all past")),
    (
        "predict",
        (lambda m: m.decode(STATE, decoder="reconstruct"), DecoderError, "no reconstruct decoder"),
    ),
    ("both", (lambda m: m.decode(STATE, decoder="past"), ArgumentError, 'decoder must be "recon')),
]


@pytest.mark.parametrize(("decoders", "case"), NO_DECODER)
def test_a_decoder_that_is_not_there_is_refused(decoders: str, case: Case) -> None:
    refused(case, small_model(decoders=decoders).fit(X))


# -- parameters ------------------------------------------------------------------------------------

COUNT = [0, -1, 2.5, "8", None, True, [8], 10**30]
PARAMETERS: dict[str, list[Any]] = {
    "hidden_size": COUNT,
    "num_layers": COUNT,
    "peepholes": [None, 1, "yes"],
    "pooling": ["max", None, 1],
    "batch_size": COUNT,
    "max_iter": COUNT,
    "patience": [value for value in COUNT if value is not None],
    "scale": ["robust", 1, True],
    "horizon": [-1, 2.5, "4"],
    "decoders": ["none", None, 2, ["both"]],
    "feedback": ["own", None, 3, {"past": "none"}, {"predict": "own"}, {"predict": None}],
    "loss": ["no loss", None, 1],
    "loss_weights": [
        1.0,
        (1,),
        (1, 2, 3),
        (1, "x"),
        (-1, 1),
        (0, 0),
        (np.nan, 1),
        (1, np.inf),
        None,
    ],
    "dropout": [-0.1, 1.0, 2, np.nan, "half", None],
    "forget_bias": ["one", np.nan, np.inf, [1]],
    "init": ["xavier", None, 0],
    "optimizer": ["no optimizer", None, 1],
    "learning_rate": [-1e-3, np.nan, np.inf, "fast", None],
    "weight_decay": [-1, np.nan, np.inf, "some", None],
    "max_grad_norm": [0, -1.0, np.nan, "some"],
    "schedule": ["linear", 1, False],
    "warmup": [-1, 2.5, "10", None],
    "precision": ["bf8", None, 32],
    "num_threads": [0, -2, 1.5, "all", 10**30],
    "random_state": [-1, 1.5, "seed", []],
    "device": [None, 0],
}
TABLE = [(name, value) for name, values in PARAMETERS.items() for value in values]


def test_the_table_names_every_parameter_that_fit_looks_at() -> None:
    free = {"verbose", "warm_start"}  # any value is true or false
    assert set(PARAMETERS) | free == set(Model().get_params())


@pytest.mark.parametrize(("name", "value"), TABLE, ids=repr)
def test_a_parameter_out_of_its_range_is_refused(name: str, value: Any) -> None:
    model = small_model(**{name: value})  # the constructor takes anything, as scikit-learn's do
    with pytest.raises(ArgumentError) as caught:
        model.fit(X)
    message = str(caught.value)
    assert message.startswith(name)
    assert " must be " in message
    assert ", got " in message


DEVICES: dict[str, str] = {
    "tpu": 'device must be "auto", "cpu", "cuda" or "cuda:0" and so on, got "tpu"',
    "cuda:": 'device must be "auto", "cpu", "cuda" or "cuda:0" and so on, got "cuda:"',
    "cuda:x": 'got "cuda:x"',
    "cuda:-1": 'got "cuda:-1"',
    "": 'got ""',
    "CPU": 'got "CPU"',
    "cuda:99": "cuda:99",
}


@pytest.mark.parametrize("device", DEVICES)
def test_an_unknown_device_is_refused(device: str, tmp_path: Path) -> None:
    refused((lambda m: m.fit(X), DeviceError, DEVICES[device]), small_model(device=device))
    small_model().fit(X).save(tmp_path / "model")
    refused((lambda _: Model.load(tmp_path / "model", device=device), DeviceError, device), new())


@pytest.mark.skipif(_core.cuda_device_count() > 0, reason="there is CUDA here")
@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_missing_cuda_is_an_error(device: str) -> None:
    case: Case = (lambda m: m.fit(X), DeviceError, "no CUDA device is seen (see nvidia-smi")
    refused(case, small_model(device=device))
    assert small_model(device="auto").fit(X).device_ == "cpu"


def test_a_model_too_large_for_memory_is_an_error() -> None:
    case: Case = (lambda m: m.fit(X), OutOfMemoryError, "try a smaller batch_size, hidden_size or")
    refused(case, small_model(hidden_size=10**7))


CHANGED = [{"hidden_size": 7}, {"num_layers": 2}, {"decoders": "predict"}, {"loss": "bce"}]


@pytest.mark.parametrize("params", [*CHANGED, {"feedback": "none"}], ids=repr)
def test_weights_that_no_longer_are_what_the_parameters_say_are_not_used(
    params: dict[str, Any], tmp_path: Path
) -> None:
    model = small_model().fit(X).set_params(**params)
    for action in (model.encode, model.losses, model.partial_fit):
        with pytest.raises(ArgumentError, match="as the model was fitted with, got .* fit anew"):
            action(X)
    with pytest.raises(ArgumentError, match="set it back or fit anew"):
        model.save(tmp_path / "model")
    fresh = small_model(**params).fit(X)
    assert_same_weights(model.fit(X), fresh)


# -- a refused fit changes nothing -----------------------------------------------------------------

REFUSED_FITS: dict[str, Action] = {
    "one window": lambda m: m.fit(X[0]),
    "NaN": lambda m: m.fit(missing()),
    "infinity in the future": lambda m: m.fit(PAST, spoilt(np.inf, 3, FUTURE)),
    "other frames in the future": lambda m: m.fit(PAST, FUTURE[..., :1]),
    "bytes and floats beyond 0..1": lambda m: m.fit(BYTES, X * 3),
    "hidden_size": lambda m: m.set_params(hidden_size=0).fit(X),
    "max_iter": lambda m: m.set_params(max_iter="many").fit(X),
    "no updates": lambda m: m.set_params(max_iter=0).fit(X),
    "dropout": lambda m: m.set_params(dropout="half").fit(X),
    "learning_rate": lambda m: m.set_params(learning_rate=-1).fit(X),
    "batch_size": lambda m: m.set_params(batch_size=0).fit(X),
    "num_threads": lambda m: m.set_params(num_threads=0).fit(X),
    "device": lambda m: m.set_params(device="tpu").fit(X),
    "partial_fit": lambda m: m.partial_fit(missing()),
    "partial_fit of a parameter": lambda m: m.set_params(optimizer="no optimizer").partial_fit(X),
    "a warm start": lambda m: m.set_params(warm_start=True, max_iter=0).fit(X),
}


def learnt(model: Model) -> dict[str, Any]:
    """What a model holds beside its parameters."""
    parameters = model.get_params()
    return {k: v for k, v in model.__getstate__().items() if k not in parameters}


@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize("what", REFUSED_FITS)
def test_a_refused_fit_leaves_the_model_as_it_was(what: str, fitted: bool) -> None:
    model = small_model()
    if fitted:
        model.fit(windows(n=5, length=6))
    before = copy.deepcopy(learnt(model))
    with pytest.raises(BackcastError):
        REFUSED_FITS[what](model)
    np.testing.assert_equal(learnt(model), before)


# -- weights and files -----------------------------------------------------------------------------


def without(name: str) -> dict[str, Any]:
    weights = small_model().fit(X).state_dict()
    return {k: v for k, v in weights.items() if k != name}


def with_(**arrays: Any) -> dict[str, Any]:
    return small_model().fit(X).state_dict() | {k.replace("__", "."): v for k, v in arrays.items()}


WEIGHTS: list[Case] = [
    (
        lambda _: Model.from_state_dict({}),
        ShapeError,
        "weights must hold encoder.lstm.weight_ih_l0",
    ),
    (
        lambda _: Model.from_state_dict(without("encoder.lstm.bias_hh_l0")),
        ShapeError,
        "weights must be a dict with the 16 weights of this architecture, got no encoder.lstm.bias",
    ),
    (
        lambda _: Model.from_state_dict(with_(extra=np.zeros(2))),
        ShapeError,
        "got also extra",
    ),
    (
        lambda _: Model.from_state_dict(with_(predict_decoder__fc__bias=np.zeros(2))),
        ShapeError,
        "predict_decoder.fc.bias must be of shape [3], got [2]",
    ),
    (
        lambda _: Model.from_state_dict(with_(predict_decoder__fc__bias="zero")),
        ShapeError,
        "predict_decoder.fc.bias must be an array of numbers",
    ),
    (
        lambda _: Model.from_state_dict(with_(predict_decoder__fc__bias=np.full(3, np.nan))),
        DataError,
        "predict_decoder.fc.bias must hold finite numbers",
    ),
    (
        lambda _: Model.from_state_dict(with_(), frame_shape=(2, 2)),
        ShapeError,
        "frame_shape must hold 3 numbers, got (2, 2)",
    ),
    (
        lambda _: Model.from_state_dict(with_(), hidden_size=7),
        ShapeError,
        "must be of shape [28, 3], got [24, 3]",
    ),
    (lambda _: Model.from_state_dict(with_(), loss="no loss"), ArgumentError, "loss must be"),
]


@pytest.mark.parametrize("case", WEIGHTS, ids=lambda case: case[2].replace(" ", "-"))
def test_weights_of_something_else_are_refused(case: Case) -> None:
    refused(case, new())


def whole_file(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Write a model file; return what is in it."""
    from safetensors import safe_open

    small_model().fit(X).save(path)
    with safe_open(path, "numpy") as file:
        return load_file(path), dict(file.metadata())


def rewritten(
    tensors: dict[str, Any] | None = None, **metadata: str | None
) -> Callable[[Path], None]:
    """Write a model file with some of its contents replaced."""

    def write(path: Path) -> None:
        own, own_metadata = whole_file(path)
        text = {k: v for k, v in (own_metadata | metadata).items() if v is not None}
        save_file(own if tensors is None else tensors, path, text)

    return write


def changed_json(key: str, **values: Any) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        own, metadata = whole_file(path)
        save_file(own, path, metadata | {key: json.dumps(json.loads(metadata[key]) | values)})

    return write


def cut_short(path: Path) -> None:
    whole_file(path)
    path.write_bytes(path.read_bytes()[:-100])


HALVES = {"a": np.zeros(2, np.float16)}
FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "an empty file": (lambda path: path.write_bytes(b""), "is not a backcast model"),
    "text": (lambda path: path.write_text("weights " * 100), "is not a backcast model"),
    "a pickle": (lambda path: path.write_bytes(b"\x80\x04N." * 9), "is not a backcast model"),
    "cut short": (cut_short, "is not a backcast model"),
    "foreign": (lambda path: save_file(HALVES, path), "must be of dtype F32"),
    "without our mark": (rewritten(format=None), "load with Model.from_state_dict"),
    "with another mark": (rewritten(format="pt"), "load with Model.from_state_dict"),
    "newer": (rewritten(format_version="2"), "format version 1 or older, got 2; a newer backcast"),
    "of no version": (rewritten(format_version=None), "is a damaged backcast model"),
    "of an odd version": (rewritten(format_version="new"), "is a damaged backcast model"),
    "without parameters": (rewritten(parameters=None), "is a damaged backcast model"),
    "of bad JSON": (rewritten(parameters="{"), "is a damaged backcast model"),
    "of other JSON": (rewritten(fitted="[]"), "is a damaged backcast model"),
    "of unknown parameters": (changed_json("parameters", colour="red"), "is a damaged backcast"),
    "of other sizes": (changed_json("parameters", hidden_size=5), "is a damaged backcast model"),
    "of bad sizes": (changed_json("parameters", hidden_size=-5), "is a damaged backcast model"),
    "without weights": (rewritten(tensors={}), "is a damaged backcast model"),
}


@pytest.mark.parametrize("what", FILES)
def test_a_file_that_is_no_whole_model_is_refused(what: str, tmp_path: Path) -> None:
    write, message = FILES[what]
    write(tmp_path / "model.safetensors")
    with pytest.raises(FileFormatError) as caught:
        Model.load(tmp_path / "model.safetensors")
    assert str(tmp_path / "model.safetensors") in str(caught.value)
    assert message in str(caught.value)


def test_a_file_that_cannot_be_opened_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        Model.load(tmp_path / "missing.safetensors")
    with pytest.raises(IsADirectoryError):
        Model.load(tmp_path)


# -- torch -----------------------------------------------------------------------------------------


def imported(code: str, folder: Path | None = None) -> str:
    """Run `code` in a fresh interpreter, with `folder` first on its path; return what it prints."""
    path = f"import sys; sys.path.insert(0, {str(folder)!r})\n" if folder else ""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", path + code],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


REPORT = """
try:
    import backcast
except ImportError as error:
    print(type(error).__mro__[1].__name__, error)
"""
REMEDY = 'pip install "torch>=2.11"'


def fake_torch(folder: Path, version: str) -> Path:
    (folder / "torch").mkdir()
    (folder / "torch" / "__init__.py").write_text(
        f"__version__ = {version!r}\nclass Tensor: pass  # SciPy asks for it\n"
    )
    info = folder / f"torch-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
    return folder


def test_a_missing_torch_is_an_error_with_the_remedy() -> None:
    hide = """
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "torch" else find(name, *rest)
"""
    message = imported(hide + REPORT)
    assert message.startswith("BackcastError backcast needs torch 2.11 or later, got none")
    assert REMEDY in message


@pytest.mark.parametrize("first", ["", "import torch\n"])
@pytest.mark.parametrize("version", ["2.10.0", "2.9.1+cpu", "1.13.1", "of its own"])
def test_an_older_torch_is_refused_with_the_remedy(
    version: str, first: str, tmp_path: Path
) -> None:
    message = imported(first + REPORT, fake_torch(tmp_path, version))
    assert f"backcast needs torch 2.11 or later, got torch {version}" in message
    assert REMEDY in message


@pytest.mark.parametrize("version", ["2.11.0", "2.15.0+cpu", "2.16.0a0+git1234", "3.0.0"])
def test_a_torch_without_its_library_is_an_error_with_the_remedy(
    version: str, tmp_path: Path
) -> None:
    message = imported(REPORT, fake_torch(tmp_path, version))
    assert "lib/libtorch.so does not load" in message
    assert REMEDY in message


# -- the classes -----------------------------------------------------------------------------------


def test_every_exception_is_also_the_one_that_python_would_raise() -> None:
    expected = {
        "ArgumentError": ValueError,
        "BusyError": RuntimeError,
        "DataError": ValueError,
        "DecoderError": ValueError,
        "DeviceError": RuntimeError,
        "DivergedError": ArithmeticError,
        "FileFormatError": ValueError,
        "GroupError": RuntimeError,
        "InternalError": RuntimeError,
        "MissingPackageError": ImportError,
        "NotFittedError": AttributeError,
        "OutOfMemoryError": MemoryError,
        "ShapeError": ValueError,
    }
    found = {
        name: error
        for name, error in vars(errors).items()
        if isinstance(error, type) and not issubclass(error, Warning)
    }
    assert set(found) == set(expected) | {"BackcastError"}
    for name, builtin in expected.items():
        assert issubclass(found[name], errors.BackcastError)
        assert issubclass(found[name], builtin)


def test_what_newcomers_hand_over_by_mistake_is_named() -> None:
    model, rows = small_model(), pd.DataFrame({"a": np.arange(40.0), "b": 1.0})
    with pytest.raises(DataError, match="got 'sensors.csv': read the file first, as by pandas.rea"):
        windows_of_series("sensors.csv", past=3)
    with pytest.raises(DataError, match="past must be an array or a table of numbers, got None"):
        model.fit(None)
    with pytest.raises(ShapeError, match="future must be frames .*: Classifier.fit takes labels"):
        model.fit(X, np.zeros(len(X)))
    for words in ("3,5", "3.5 kW", "-4 %"):
        with pytest.warns(UserWarning, match="columns left out.*'c'.*decimal=','"):
            assert windows_of_series(rows.assign(c=words), past=3).columns == ["a", "b"]
    for words in ("2026-01-02", "01.02.2026", "12:30", "room 3"):
        assert windows_of_series(rows.assign(c=words), past=3).columns == ["a", "b"]


@pytest.mark.parametrize("new", [AnomalyDetector(), Embedder(), Forecaster(4, 2)], ids=repr)
def test_what_is_learnt_asks_for_a_fit_first(new: Any) -> None:
    for name in ("columns_", "decisions_", "n_features_in_"):
        assert not hasattr(new, name)
        with pytest.raises(NotFittedError, match=f"this {type(new).__name__} is not fitted yet"):
            getattr(new, name)
    with pytest.raises(AttributeError, match="has no attribute 'colums'"):
        new.colums  # noqa: B018
