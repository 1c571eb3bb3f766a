"""A damaged, foreign or absurd file is refused at once, with little memory, whatever is in it."""

import gzip
import importlib.util
import json
import os
import struct
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from backcast import AnomalyDetector, Classifier, Model
from backcast._engine import memory
from backcast.data import moving_mnist_test, read_idx
from backcast.errors import FileFormatError
from small import X, small_model

FUZZ = Path(__file__).parents[1] / "fuzz"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whole files: a model, one with its training, a classifier, a detector."""
    folder = tmp_path_factory.mktemp("whole")
    small_model(scale="minmax").fit(X).save(folder / "model")
    small_model(patience=2).fit(X, validation=0.25, checkpoint=folder / "checkpoint")
    labels = np.arange(12) % 3
    small = {"hidden_size": 6, "max_iter": 4, "device": "cpu", "random_state": 0, "verbose": 0}
    Classifier(**small).fit(X, labels).save(folder / "classifier")
    rows = np.sin(np.arange(60) / 3)[:, None] * np.ones(2)
    AnomalyDetector(small, past=5, future=2).fit(rows).save(folder / "detector")
    return folder


LOADS: dict[str, Callable[..., Any]] = {
    "model": Model.load,
    "checkpoint": Model.load,
    "classifier": Classifier.load,
    "detector": AnomalyDetector.load,
}


def opened(path: Path) -> tuple[dict[str, Any], bytes]:
    """The header of a safetensors file, and its arrays."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def closed(path: Path, header: Any, arrays: bytes) -> Path:
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + arrays)
    return path


def refused(load: Callable[..., Any], path: Path, **options: Any) -> str:
    """Load a file: it is refused at once, with little memory. Return the message."""
    tracemalloc.start()
    start = time.monotonic()
    try:
        with pytest.raises(FileFormatError) as caught:
            load(path, **options)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.monotonic() - start < 5
    assert peak < 40 * path.stat().st_size + 2**20
    assert path.name in str(caught.value)
    return str(caught.value)


ABSENT = object()
ODD = [None, True, "xxx", -1, 0.5, 10**12, 10**400, float("nan"), [], [3, 3], {"a": 1}, [[1]]]
FITTED: dict[str, list[Any]] = {
    "frame_shape": [
        ABSENT,
        None,
        3,
        [],
        [0],
        [-3],
        [3.0],
        ["3"],
        [2**40, 2**40],
        [10**400],
        [4],
        [True],
    ],
    "scaled": [ABSENT, 1, "yes", [True]],
    "scale": [3, [], [[0, 0, 0]], [[0, 0, 0], [1, 1]], [[0, 0, 0], [1, 1, 0]], [[0, 0, 0], "abc"]],
    "seed": [ABSENT, None, -1, 2**64, 0.5, "1"],
    "n_iter": [ABSENT, None, -1, 2**64, 0.5],
    "history": [ABSENT, None, 5, [5], [{}], {"a": 1}, [{"step": "x", "seconds": 1}]],
    "trained_on": [5, [], {}, {"windows": "a", "past": [1, 2], "future": [0, 0], "batch": 1}],
    "horizon": [-1, 0.5, "3", [3], 10**400],
    "training": [5, {}, {"progress": [1, 2, 3], "end": 1}, {"progress": [0] * 4, "end": -1}],
    "watch": [5, {}, {"best": "x", "waited": 0, "done": False}],
}


@pytest.mark.parametrize("name", FITTED)
def test_what_was_fitted_is_checked(name: str, folder: Path, tmp_path: Path) -> None:
    for odd in FITTED[name]:
        header, arrays = opened(folder / "checkpoint")
        items = json.loads(header["__metadata__"]["fitted"])
        items[name] = odd
        if odd is ABSENT:
            del items[name]
        header["__metadata__"]["fitted"] = json.dumps(items)
        refused(Model.load, closed(tmp_path / "odd", header, arrays), device="cpu")


@pytest.mark.parametrize("kind", ["model", "classifier"])
def test_every_parameter_is_checked_as_that_of_a_new_model(
    kind: str, folder: Path, tmp_path: Path
) -> None:
    header, arrays = opened(folder / kind)
    saved = json.loads(header["__metadata__"]["parameters"])
    loads = LOADS[kind]
    for name in saved:
        if name == "device":
            continue
        for odd in ODD:
            header["__metadata__"]["parameters"] = json.dumps(saved | {name: odd})
            path = closed(tmp_path / "odd", header, arrays)
            try:
                loaded = loads(path, device="cpu")
            except FileFormatError:
                continue
            # What is taken is as good as what a user may give.
            found = getattr(loaded, name)
            assert (list(found) if isinstance(found, tuple) else found) == odd
            assert odd is None or name not in ("hidden_size", "num_layers", "batch_size") or odd > 0
            numbers = loaded.predict_proba(X) if kind == "classifier" else loaded.encode(X)
            assert np.isfinite(numbers).all()


@pytest.mark.parametrize("size", [5, 7, 5_000, 20_000, 10**6, 10**12, 2**53, 2**62, 10**400])
@pytest.mark.parametrize("name", ["hidden_size", "num_layers"])
def test_sizes_are_compared_before_anything_is_made(
    name: str, size: int, folder: Path, tmp_path: Path
) -> None:
    for kind in ("model", "classifier"):
        header, arrays = opened(folder / kind)
        saved = json.loads(header["__metadata__"]["parameters"])
        header["__metadata__"]["parameters"] = json.dumps(saved | {name: size})
        message = refused(LOADS[kind], closed(tmp_path / "odd", header, arrays), device="cpu")
        assert "is a damaged backcast model" in message


def test_many_layers_are_read_in_a_time_that_grows_with_them(tmp_path: Path) -> None:
    small_model(hidden_size=1, num_layers=3_000, decoders="reconstruct", feedback="none").fit(
        X[:2, :2]
    ).save(tmp_path / "deep")
    start = time.monotonic()
    assert Model.load(tmp_path / "deep", device="cpu").num_layers == 3_000
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["model", "checkpoint", "classifier", "detector"])
def test_weights_that_are_not_finite_are_refused(
    kind: str, odd: float, folder: Path, tmp_path: Path
) -> None:
    header, arrays = opened(folder / kind)
    for name in list(header)[1 :: max(1, len(header) // 6)]:
        start = header[name]["data_offsets"][0]
        bad = arrays[:start] + struct.pack("<f", odd) + arrays[start + 4 :]
        message = refused(LOADS[kind], closed(tmp_path / "odd", header, bad), device="cpu")
        assert "NaN or an infinite number" in message


@pytest.mark.parametrize(("moment", "odd"), [("first", -3e38), ("first", 1e30), ("second", -1.0)])
def test_moments_that_no_training_has_are_refused(
    moment: str, odd: float, folder: Path, tmp_path: Path
) -> None:
    header, arrays = opened(folder / "checkpoint")
    place = header[f"optimizer.{moment}.encoder.lstm.weight_hh_l0"]["data_offsets"][0]
    bad = arrays[:place] + struct.pack("<f", odd) + arrays[place + 4 :]
    message = refused(Model.load, closed(tmp_path / "odd", header, bad), device="cpu")
    assert "encoder.lstm.weight_hh_l0 has moments that no training has" in message


DEEP = "[" * 100_000, '{"a":' * 100_000, "[" * 2_000 + "]" * 2_000


@pytest.mark.parametrize("deep", DEEP)
def test_deep_json_is_refused(deep: str, folder: Path, tmp_path: Path) -> None:
    refused(Model.load, closed(tmp_path / "deep", deep, b""), device="cpu")
    for kind, load in LOADS.items():
        for place in ("parameters", "fitted"):
            header, arrays = opened(folder / kind)
            header["__metadata__"][place] = deep
            refused(load, closed(tmp_path / "deep", header, arrays), device="cpu")


Header = dict[str, Any]


def first_of(header: Header) -> Header:
    return next(item for name, item in header.items() if name != "__metadata__")


def overlapping(header: Header) -> None:
    first, second = [item for name, item in header.items() if name != "__metadata__"][:2]
    second["data_offsets"][0] = first["data_offsets"][0]


HEADERS: dict[str, Callable[[Header], object]] = {
    "another dtype": lambda header: first_of(header).update(dtype="F64"),
    "an odd dtype": lambda header: first_of(header).update(dtype=[1]),
    "another shape": lambda header: first_of(header).update(shape=[1]),
    "no shape": lambda header: first_of(header).pop("shape"),
    "a negative shape": lambda header: first_of(header).update(shape=[-6, -4]),
    "a shape of flags": lambda header: first_of(header).update(shape=[True]),
    "an absurd shape": lambda header: first_of(header).update(shape=[2**40, 2**40]),
    "a huge number": lambda header: first_of(header).update(shape=[10**400]),
    "places before the start": lambda header: first_of(header).update(data_offsets=[-8, 0]),
    "places beyond the end": lambda header: first_of(header).update(data_offsets=[0, 10**15]),
    "places in no order": lambda header: first_of(header)["data_offsets"].reverse(),
    "overlapping places": overlapping,
    "an array that is a word": lambda header: header.update(more="word"),
    "text that is a number": lambda header: header["__metadata__"].update(format=3),
    "text that is a list": lambda header: header.update(__metadata__=[]),
    "one array more": lambda header: header.update(
        more={"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    ),
    "one array of another name": lambda header: header.update(
        {"encoder.lstm.weight_hh_l7": header.pop("encoder.lstm.weight_hh_l0")}
    ),
}


@pytest.mark.parametrize("what", HEADERS)
def test_the_table_of_arrays_is_checked(what: str, folder: Path, tmp_path: Path) -> None:
    for kind, load in LOADS.items():
        header, arrays = opened(folder / kind)
        HEADERS[what](header)
        refused(load, closed(tmp_path / "odd", header, arrays), device="cpu")


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 7, b"\xff" * 64, b"\0" * 64, b"\x08" + b"\0" * 15]
)
def test_what_has_no_header_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "odd").write_bytes(content)
    for load in (*LOADS.values(), read_idx, moving_mnist_test):
        refused(load, tmp_path / "odd")


def test_a_file_is_refused_that_is_longer_or_shorter_than_it_says(
    folder: Path, tmp_path: Path
) -> None:
    for kind, load in LOADS.items():
        content = (folder / kind).read_bytes()
        for cut in (content[:-1], content + b"\0", content[:20], content[: len(content) // 2]):
            (tmp_path / "odd").write_bytes(cut)
            refused(load, tmp_path / "odd", device="cpu")


CLASSES: list[tuple[Any, Any]] = [
    (None, "<i8"),
    ([], "<i8"),
    ([0], "<i8"),
    ([0, 1, 1], "<i8"),
    ([2, 1, 0], "<i8"),
    ([0, 1, "a"], "<i8"),
    ([0, 1, 10**400], "<i8"),
    ([[0], [1], [2]], "<i8"),
    ([0, 1, 2], "O"),
    ([0, 1, 2], "<U999999"),
    (["a", "b", "c"], "<U999999"),
    ([0, 1, 2], "i8,i8"),
    ([0, 1, 2], "V999999999999"),
    ([0, 1, 2], "((("),
    ([0, 1, 2], None),
    ([0, 1, 2, 3], "<i8"),
]


@pytest.mark.parametrize(("classes", "dtype"), CLASSES)
def test_the_labels_of_a_classifier_are_checked(
    classes: Any, dtype: Any, folder: Path, tmp_path: Path
) -> None:
    header, arrays = opened(folder / "classifier")
    items = json.loads(header["__metadata__"]["fitted"]) | {"classes": classes, "dtype": dtype}
    header["__metadata__"]["fitted"] = json.dumps(items)
    refused(Classifier.load, closed(tmp_path / "odd", header, arrays), device="cpu")


DETECTOR: dict[str, list[Any]] = {
    "parameters": [ABSENT, 5, {"past": 0}, {"colour": "red"}, {"quantile": 2}, {"scoring": "loud"}],
    "columns": [ABSENT, None, 5, [], [0], [0, [1]], "ab"],
    "gap": [ABSENT, [1], {}],
    "lengths": [ABSENT, 5, [5], [0, 2], [5, -1], ["5", 2], [10**400, 2], [4, 2]],
    "center": [ABSENT, None, 1, "no"],
    "scoring": [None, 5, "loud", ["sharp"]],
    "offset": [ABSENT, None, "0", float("nan"), 10**400, [1]],
    "mean": [ABSENT, None, 5, [], "x", [[1, 2]], [["a", "b"]] * 7, [[float("nan"), 0]] * 7],
    "std": [ABSENT, None, [[1, 0]] * 7, [[1, -1]] * 7, [[1, float("inf")]] * 7],
}


@pytest.mark.parametrize("name", DETECTOR)
def test_what_a_detector_learnt_is_checked(name: str, folder: Path, tmp_path: Path) -> None:
    for odd in DETECTOR[name]:
        header, arrays = opened(folder / "detector")
        items = json.loads(header["__metadata__"]["fitted"])
        items["detector"][name] = odd
        if odd is ABSENT:
            del items["detector"][name]
        header["__metadata__"]["fitted"] = json.dumps(items)
        refused(AnomalyDetector.load, closed(tmp_path / "odd", header, arrays), device="cpu")


# -- what is no file -------------------------------------------------------------------------------


@pytest.mark.parametrize("load", [*LOADS.values(), read_idx, moving_mnist_test])
def test_a_pipe_and_a_device_are_refused(load: Callable[..., Any], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), Path("/dev/null"), Path("/dev/urandom")):
        with pytest.raises(
            FileFormatError, match="must be a file, got a pipe, a socket or a device"
        ):
            load(path)
    with pytest.raises(IsADirectoryError):
        load(tmp_path)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "missing")


# -- arrays ----------------------------------------------------------------------------------------


def idx(rank: int, *sizes: int, dtype: int = 8, numbers: bytes = b"") -> bytes:
    return bytes([0, 0, dtype, rank]) + struct.pack(f">{len(sizes)}I", *sizes) + numbers


IDX = {
    "too many dimensions": idx(65, *([1] * 65), numbers=b"1"),
    "many dimensions": idx(33, *([1] * 33), numbers=b"1"),
    "255 dimensions": idx(255, *([2**32 - 1] * 255)),
    "absurd sizes": idx(3, 2**32 - 1, 2**32 - 1, 2**32 - 1, numbers=b"1"),
    "too long": idx(1, 3, numbers=b"1234"),
    "too short": idx(1, 3, numbers=b"12"),
    "no dtype": idx(1, 3, dtype=7, numbers=b"123"),
}


@pytest.mark.parametrize("what", IDX)
@pytest.mark.parametrize("packed", [False, True])
def test_absurd_idx_files_are_refused(what: str, packed: bool, tmp_path: Path) -> None:
    (tmp_path / "idx").write_bytes(gzip.compress(IDX[what]) if packed else IDX[what])
    refused(read_idx, tmp_path / "idx")


def test_a_gzip_bomb_is_unpacked_no_further_than_its_header_says(tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(gzip.compress(idx(1, 3, numbers=bytes(3 * 10**8))))
    refused(read_idx, path)
    path.write_bytes(gzip.compress(idx(1, 2**32 - 1, numbers=bytes(100))))
    refused(read_idx, path)


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("shape", [(3,), (2, 3), (0, 3), (2, 1, 2, 1)])
def test_idx_files_are_read(dtype: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    codes = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype) - np.array(1).astype(dtype)
    content = idx(
        len(shape), *shape, dtype=codes[dtype], numbers=array.astype(f">{dtype}").tobytes()
    )
    for one in (content, gzip.compress(content)):
        (tmp_path / "idx").write_bytes(one)
        found = read_idx(tmp_path / "idx")
        assert found.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(found, array)


HEADS = [
    "{'descr': '|u1', 'fortran_order': False, 'shape': (20, 1, 64, 64), ",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (20, 1, 64, 64)} + 1",
    "{'descr': '|u1', 'fortran_order': __import__('os').abort(), 'shape': (20, 1, 64, 64)}",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (20, 10**400, 64, 64)}",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (20, " + "9" * 30 + ", 64, 64)}",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (20, -1, 64, 64)}",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (20, 1.0, 64, 64)}",
    "{'descr': '|O', 'fortran_order': False, 'shape': (20, 1, 64, 64)}",
    "{'descr': [1], 'fortran_order': False, 'shape': (20, 1, 64, 64)}",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (20, 1L, 64, 64)\\",
    "(" * 9000,
    '"""',
    "",
]


@pytest.mark.parametrize("head", HEADS)
def test_damaged_npy_files_are_refused(head: str, tmp_path: Path) -> None:
    text = head.encode() + b"\n"
    start = b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text
    (tmp_path / "npy").write_bytes(start + bytes(20 * 64 * 64))
    refused(moving_mnist_test, tmp_path / "npy")


# -- fuzzing ---------------------------------------------------------------------------------------


def fuzzer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz", FUZZ / "__main__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz"] = module
    spec.loader.exec_module(module)
    return module


def test_damaged_files_of_every_kind_are_refused_or_read() -> None:
    fuzz = fuzzer()
    found = fuzz.run(files=600, seed=7, minutes=5, processes=1)
    assert fuzz.unexpected(found) == []
    assert found["FileFormatError"] > 100


# -- limits of memory ------------------------------------------------------------------------------


def proc(folder: Path, mounts: str, groups: str) -> Path:
    """A /proc of a machine with 8 GB free."""
    (folder / "proc" / "self").mkdir(parents=True)
    (folder / "proc" / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:  8000000 kB\n")
    (folder / "proc" / "self" / "mountinfo").write_text(mounts)
    (folder / "proc" / "self" / "cgroup").write_text(groups)
    return folder / "proc"


def group(folder: Path, version: int, limit: str, usage: int, cache: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = {1: ("limit_in_bytes", "usage_in_bytes", "total_"), 2: ("max", "current", "")}[version]
    (folder / f"memory.{names[0]}").write_text(limit + "\n")
    (folder / f"memory.{names[1]}").write_text(f"{usage}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{names[2]}inactive_file {cache}\n")


NO_LIMIT = str(2**63 - 4096)


@pytest.mark.parametrize("version", [1, 2])
def test_the_limits_of_control_groups_are_respected(version: int, tmp_path: Path) -> None:
    top = tmp_path / "cgroup"
    kind = {1: "cgroup cgroup rw,memory", 2: "cgroup2 cgroup2 rw"}[version]
    line = {1: "4:memory:/a/b\n3:cpu:/\n", 2: "0::/a/b\n"}[version]
    mounts = f"31 23 0:28 / /sys rw - sysfs sysfs rw\n32 31 0:9 / {top} rw - {kind}\n"
    found = proc(tmp_path, mounts, line)
    assert memory.available_bytes(found) == 8_192_000_000
    group(top / "a" / "b", version, {1: NO_LIMIT, 2: "max"}[version], 0)
    assert memory.available_bytes(found) == 8_192_000_000
    group(top / "a", version, "4000000", 1_000_000, cache=200_000)  # of the group around it
    assert memory.available_bytes(found) == 3_200_000
    group(top / "a" / "b", version, "3000000", 1_000_000)
    assert memory.available_bytes(found) == 2_000_000
    group(top / "a" / "b", version, "3000000", 5_000_000)
    assert memory.available_bytes(found) == 0


@pytest.mark.parametrize("version", [1, 2])
def test_a_container_may_see_its_own_group_as_the_top(version: int, tmp_path: Path) -> None:
    top = tmp_path / "cgroup"
    kind = {1: "cgroup cgroup rw,memory", 2: "cgroup2 cgroup2 rw"}[version]
    line = {1: "4:memory:/docker/x\n", 2: "0::/docker/x\n"}[version]
    found = proc(tmp_path, f"32 31 0:9 /docker/x {top} rw - {kind}\n", line)
    group(top, version, "3000000", 1_000_000)
    assert memory.available_bytes(found) == 2_000_000


def test_the_free_memory_of_this_machine_is_known() -> None:
    found = memory.available_bytes()
    assert found is not None
    assert 0 < found < 2**50
