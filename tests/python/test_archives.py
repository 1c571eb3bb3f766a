"""The commands on files give the numbers of the package in memory; workers are light."""

from __future__ import annotations

import multiprocessing
import pickle
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from backcast import AnomalyDetector, Classifier, Forecaster, Model
from backcast.commands import _files, _plan, _run
from backcast.commands._rows import _Steps
from backcast.data import windows
from backcast.data._recordings import recordings
from backcast.errors import TrainingWarning
from backcast.experiments.cli import main
from small import small_model

SMALL: dict[str, Any] = {"hidden_size": 6, "max_iter": 4, "device": "cpu", "verbose": 0}
SMALL["random_state"] = 0
KEYS: dict[str, Any] = {"group": "sensor", "time": "time"}


def recording(name: str, n: int, start: str, step: str, lost: range = range(0)) -> pd.DataFrame:
    """Two waves of a sensor, without the lost rows."""
    time = pd.date_range(start, periods=n, freq=step)
    x, y = np.sin(np.arange(n) / 5), np.cos(np.arange(n) / 7)
    table = pd.DataFrame({"sensor": name, "time": time, "x": x, "y": y})
    return table.drop(index=[*lost])


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Recordings with gaps, steps of their own, missing numbers, and one that is too short."""
    parts = [
        recording("b", 400, "2026-01-01", "10s", range(300, 310)),
        recording("a", 30, "2026-01-01", "1min"),
        recording("c", 5, "2026-01-02", "10s"),
        recording("d", 350, "2026-01-03", "17s", range(200, 201)),
    ]
    table = pd.concat(parts, ignore_index=True)
    table.loc[100:130, ["x", "y"]] = np.nan
    table.loc[150:160, "x"] = np.nan
    return table


@pytest.fixture(scope="module")
def folder(table: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of the table and of the models."""
    folder = tmp_path_factory.mktemp("archives")
    table.to_csv(folder / "t.csv", index=False)
    table.to_parquet(folder / "t.parquet", row_group_size=170)
    np.save(folder / "x.npy", table[["x", "y"]].to_numpy(np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        w = usable(windows(table, 8, 3, **KEYS))
        Model(**SMALL, horizon=3, scale="standard").fit(w).save(folder / "model")
        AnomalyDetector(SMALL, past=8, future=3, **KEYS).fit(table).save(folder / "detector")
        Forecaster(12, 6, SMALL, **KEYS).fit(table).save(folder / "forecaster")
    return folder


def usable(w: Any) -> Any:
    """Leave out windows whose past has no number."""
    return w[~np.isnan(np.asarray(w)[:, :8]).all((1, 2))]


@pytest.fixture
def command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """Run a command on files of the folder; return the table that it has written."""

    def run(name: str, file: str, model: str, *options: Any, code: int = 0) -> Any:
        words = [name, folder / file, "--model", folder / model, "--out", tmp_path / "out"]
        found = main([str(word) for word in [*words, "--quiet", *options]])
        messages = capsys.readouterr().err
        assert found == code, messages
        return pd.read_parquet(tmp_path / "out") if code == 0 else messages

    yield run


# -- the numbers are those in memory ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("stride", "file", "rows"),
    [
        (1, "t.csv", 41),
        (3, "t.parquet", 41),
        (19, "t.csv", 97),
        (3, "t.csv", 10_000),
        (1, "t.parquet", 387),
    ],
)
def test_embeddings_of_parts_are_those_of_the_whole(
    command: Any, table: pd.DataFrame, folder: Path, stride: int, file: str, rows: int
) -> None:
    keys = ["--group", "sensor", "--time", "time", "--stride", stride, "--part-rows", rows]
    found = command("embed", file, "model", "--past", 8, *keys)
    with pytest.warns(UserWarning, match="no window of 8 frames"):
        w = usable(windows(table, 8, stride=stride, **KEYS))
    found = found.sort_values(["sensor", "time"])
    assert [*zip(found["sensor"], found["time"], strict=True)] == w.index.tolist()
    assert (table["time"].iloc[found["row"]].to_numpy() == found["time"].to_numpy()).all()
    expected = Model.load(folder / "model", device="cpu").encode(w)
    np.testing.assert_array_equal(found.filter(regex="^h"), expected)


@pytest.mark.parametrize(("past", "stride"), [(1, 1), (1, 5), (8, 3), (8, 20)])
def test_windows_of_an_array_are_cut_as_in_memory(
    command: Any, folder: Path, past: int, stride: int
) -> None:
    found = command(
        "embed", "x.npy", "model", "--past", past, "--stride", stride, "--part-rows", 97
    )
    w = windows(np.load(folder / "x.npy"), past, stride=stride)
    known = ~np.isnan(w).all((1, 2))
    expected = Model.load(folder / "model", device="cpu").encode(w[known])
    np.testing.assert_array_equal(found.filter(regex="^h"), expected)
    assert found["row"].tolist() == (np.flatnonzero(known) * stride + past - 1).tolist()


def test_an_array_of_windows_is_encoded_as_it_is(
    command: Any, folder: Path, tmp_path: Path
) -> None:
    w = np.asarray(windows(np.load(folder / "x.npy")[:90], 8))
    np.save(tmp_path / "w.npy", w)
    found = command("embed", tmp_path / "w.npy", "model", "--part-rows", 30, "--pooling", "mean")
    model = Model.load(folder / "model", device="cpu").set_params(pooling="mean")
    np.testing.assert_array_equal(found.filter(regex="^h"), model.encode(w))
    assert found["row"].tolist() == [*range(len(w))]


@pytest.mark.parametrize("rows", [50, 10_000])
def test_scores_of_parts_are_those_of_the_whole(
    command: Any, table: pd.DataFrame, folder: Path, rows: int
) -> None:
    found = command("score", "t.csv", "detector", "--part-rows", rows)
    detector = AnomalyDetector.load(folder / "detector", device="cpu")
    with pytest.warns(TrainingWarning, match="5 of 774 rows have no score .* of 'c'"):
        expected = detector.scores(table)
        rows, labels = -detector.score_samples(table), detector.predict(table)
    np.testing.assert_allclose(found[["x", "y"]], expected, rtol=1e-9)
    np.testing.assert_allclose(found["score"], rows, rtol=1e-9)
    assert (found["outlier"] == (labels == -1)).all()
    assert found["row"].tolist() == [*range(len(table))]


@pytest.mark.parametrize("rows", [60, 10_000])
def test_forecasts_of_recordings_are_those_of_the_whole(
    command: Any, table: pd.DataFrame, folder: Path, rows: int
) -> None:
    found = command("forecast", "t.csv", "forecaster", "--part-rows", rows, "--interval", 0.9)
    with pytest.warns(UserWarning, match="recordings have no window"):
        expected = Forecaster.load(folder / "forecaster", device="cpu").predict(table, interval=0.9)
    found = found.sort_values(["sensor", "step"])
    assert [*zip(found["sensor"], found["time"], strict=True)] == expected.index.tolist()
    # Units of intervals come from Fourier transforms, whose last bits depend on the batch.
    np.testing.assert_allclose(found[expected.columns], expected, rtol=1e-12)


def test_models_fitted_on_arrays_take_columns_by_place(command: Any, tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((300, 2))
    pd.DataFrame(x, columns=["p", "q"]).to_csv(tmp_path / "x.csv", index=False)
    detector = AnomalyDetector(SMALL, past=8, future=3).fit(x)
    detector.save(tmp_path / "detector")
    files = tmp_path / "x.csv", tmp_path / "detector"
    found = command("score", *files, "--part-rows", 70, "--columns", "p", "q")
    np.testing.assert_allclose(found[["p", "q"]], detector.scores(x), rtol=1e-9)


def test_an_index_of_dates_is_the_time(command: Any, table: pd.DataFrame, tmp_path: Path) -> None:
    one = table[table["sensor"] == "d"].set_index("time")[["x", "y"]]
    one.to_parquet(tmp_path / "one.parquet")
    detector = AnomalyDetector(SMALL, past=8, future=3).fit(one)
    detector.save(tmp_path / "detector")
    found = command("score", tmp_path / "one.parquet", tmp_path / "detector", "--part-rows", 60)
    np.testing.assert_allclose(found[["x", "y"]], detector.scores(one), rtol=1e-9)
    assert (found["time"] == one.index).all()


# -- interrupted commands --------------------------------------------------------------------------


def test_an_interrupted_command_goes_on_where_it_stopped(
    command: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = "embed", "x.npy", "model", "--past", 8, "--part-rows", 100
    whole = command(*options)
    shutil.rmtree(tmp_path / "out")
    compute, calls = _run._compute, []

    def interrupted(*arguments: Any) -> Any:
        calls.append(arguments[-1].name)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return compute(*arguments)

    monkeypatch.setattr(_run, "_compute", interrupted)
    assert "stopped" in command(*options, code=130)
    assert sorted(p.name for p in (tmp_path / "out").glob("part*")) == calls[:3]
    before = (tmp_path / "out" / calls[0]).stat().st_mtime_ns
    pd.testing.assert_frame_equal(command(*options), whole)
    assert calls[4:] == [f"part-00000-{k:05}.parquet" for k in range(3, 8)]
    assert (tmp_path / "out" / calls[0]).stat().st_mtime_ns == before
    n = len(calls)
    command(*options)
    assert len(calls) == n  # what is finished is not even read
    refused = command(*options, "--stride", 2, code=1)
    assert "which has parts with stride 1 (now 2): choose another folder, or start anew" in refused
    assert f"rm -r {tmp_path / 'out'}" in refused
    assert "command embed (now score)" in command("score", "t.csv", "detector", code=1)


def test_a_run_without_parts_does_not_block_the_next_one(
    command: Any, table: pd.DataFrame, tmp_path: Path
) -> None:
    table.iloc[::-1].to_csv(tmp_path / "t.csv", index=False)
    options = tmp_path / "t.csv", "detector", "--part-rows"
    assert "rows must be in the order" in command("score", *options, 100, code=1)
    assert (tmp_path / "out" / "_plan.json").exists()
    command("score", *options, 10_000)
    # Marks of files without a window are not those of the next command's windows.
    shutil.rmtree(tmp_path / "out")
    assert "got none in" in command("embed", "x.npy", "model", "--past", 2000, code=1)
    assert len(command("embed", "x.npy", "model", "--past", 8))


def test_files_may_be_added_and_mended_until_they_have_parts(
    command: Any, table: pd.DataFrame, folder: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    shutil.copy(folder / "t.csv", first)
    second.write_text("sensor,time,x,y\na,2026-01-01,low,1\n")
    model = "detector", "--part-rows", 1000
    assert len(command("score", first, *model)) == len(table)
    arguments = ["score", first, second, "--model", folder / "detector", "--out", tmp_path / "out"]
    arguments = [*map(str, arguments), "--part-rows", "1000", "--quiet"]
    assert main(arguments) == 1
    shutil.copy(folder / "t.csv", second)
    assert main(arguments) == 0
    assert len(pd.read_parquet(tmp_path / "out")) == 2 * len(table)
    table[:500].to_csv(second, index=False)
    assert main(arguments) == 1
    (tmp_path / "out" / "part-00001-00000.parquet").unlink()
    assert main(arguments) == 0
    assert len(pd.read_parquet(tmp_path / "out")) == len(table) + 500


def test_two_commands_do_not_write_to_one_folder(command: Any, tmp_path: Path) -> None:
    with _plan.alone(tmp_path / "out"):
        assert "which is in use" in command("score", "t.csv", "detector", code=1)
    command("score", "t.csv", "detector")


@pytest.mark.slow
def test_workers_end_with_a_killed_parent(folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((500_000, 2), np.float32))
    words = ["embed", tmp_path / "x.npy", "--model", folder / "model", "--out", tmp_path / "out"]
    words += ["--past", 60, "--part-rows", 5000, "--processes", 2, "--quiet"]
    parent = subprocess.Popen([sys.executable, "-m", "backcast", *map(str, words)])
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    while not [*tmp_path.glob("out/part*")] and parent.poll() is None:
        time.sleep(0.1)
    workers = [Path(f"/proc/{pid}") for pid in children.read_text().split()]
    assert len(workers) >= 2
    parent.kill()
    parent.wait()
    end = time.monotonic() + 20
    while any(running(worker) for worker in workers) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(running(worker) for worker in workers)


def running(process: Path) -> bool:
    """Return whether a process is there and not only waits for its parent to take note."""
    try:
        return process.joinpath("stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_another_folder_is_not_written_to(command: Any, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    assert "out must be a new or an empty folder" in command("score", "t.csv", "detector", code=1)


def test_two_processes_give_the_same_table(command: Any, tmp_path: Path) -> None:
    options = "score", "t.csv", "detector", "--part-rows", 200
    one = command(*options)
    shutil.rmtree(tmp_path / "out")
    pd.testing.assert_frame_equal(command(*options, "--processes", 2), one)


# -- advice ----------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "no file": (("score", "gone.csv", "detector"), "gone.csv: there is no such file"),
    "no model": (("score", "t.csv", "gone"), "gone: there is no such model"),
    "a detector": (("embed", "t.csv", "detector", "--past", 8), "backcast score takes it"),
    "a forecaster": (("score", "t.csv", "forecaster"), "backcast forecast takes it"),
    "a model": (("forecast", "t.csv", "model"), "backcast embed takes it"),
    "a classifier": (("embed", "t.csv", "classifier"), "backcast.Classifier uses it in Python"),
    "no length": (("embed", "t.csv", "model"), "past must be given, --past"),
    "an empty file": (("score", "empty.csv", "detector"), "must hold rows, got an empty file"),
    "no rows": (("embed", "head.csv", "model", "--past", 8), "got none in"),
    "words": (
        ("embed", "words.csv", "model", "--past", 1),
        "column 'x' must hold numbers, got 'low' in line 3",
    ),
    "late words": (
        ("embed", "late.csv", "model", "--past", 1),
        "late.csv, line 300,002, column 'y': must hold values like those of the first rows, got",
    ),
    "a short line": (
        ("embed", "short.csv", "model", "--past", 1),
        "short.csv, line 3: must have 2 columns as the first line, got 1",
    ),
    "two columns of one name": (
        ("embed", "twice.csv", "model", "--past", 1),
        "twice.csv: columns must have different names, got 'x' twice",
    ),
    "a decimal comma": (("embed", "comma.csv", "model", "--past", 1, "--sep", ";"), "--decimal ,"),
    "a comma for both": (
        ("embed", "comma.csv", "model", "--past", 1, "--decimal", ","),
        "sep must be another character than decimal, got ',' for both",
    ),
    "an infinite number": (
        ("embed", "infinite.csv", "model", "--past", 1),
        "infinite.csv, row 1 of column 'y': must hold finite numbers or none",
    ),
    "an encoding": (
        ("embed", "latin.csv", "model", "--past", 1, "--group", "s"),
        "latin.csv: must be text in UTF-8",
    ),
    "a wide array": (
        ("embed", "wide.npy", "model", "--past", 8),
        "wide.npy: array must be of shape (n_rows, 2), as",
    ),
    "an array for a table": (
        ("score", "x.npy", "detector"),
        "x.npy: must be a table with the columns ['sensor', 'time'], with which this AnomalyDet",
    ),
    "an array to forecast": (("forecast", "x.npy", "forecaster"), "x.npy: must be a table with"),
    "a stride of windows": (
        ("embed", "windows.npy", "model", "--stride", 2),
        "stride must be left out",
    ),
    "a gap without time": (
        ("embed", "x.npy", "model", "--past", 8, "--gap", 3),
        "x.npy: gap must be left out without --time",
    ),
    "a gap in words": (
        ("embed", "t.csv", "model", "--past", 8, "--time", "time", "--gap", "long"),
        "gap must be a duration",
    ),
    "a level": (("forecast", "t.csv", "forecaster", "--interval", 9), "between 0 and 1"),
    "a file of the future": (
        ("forecast", "t.csv", "forecaster", "--future", "t.csv"),
        "future must be left out",
    ),
    "a device": (("score", "t.csv", "detector", "--device", "moon"), 'device must be "auto"'),
    "other columns": (("score", "t.csv", "detector", "--columns", "x"), "columns must be left out"),
    "a column less": (("embed", "less.csv", "model", "--past", 1), r"among ['x'], got 'y'"),
    "an unknown time": (
        ("embed", "t.csv", "model", "--past", 8, "--time", "when"),
        "time must be one of its columns",
    ),
    "another separator": (("embed", "semi.csv", "model", "--past", 8), "--sep"),
    "rows out of order": (
        ("score", "mixed.csv", "detector", "--part-rows", 100),
        "rows must be in the order of 'sensor' and 'time'",
    ),
    "too small parts": (("score", "t.csv", "detector", "--part-rows", 5), "at least 11, a window"),
    "an unknown kind": (("score", "t.xlsx", "detector"), "must be one of .csv, .tsv"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_comes_with_advice(
    command: Any, folder: Path, table: pd.DataFrame, case: str
) -> None:
    arguments, message = REFUSED[case]
    texts: dict[str, Any] = {
        "empty.csv": "",
        "head.csv": "x,y\n",
        "words.csv": "x,y\n1e3,1\nlow,2\n",
        "short.csv": "x,y\n1,2\n3\n",
        "twice.csv": "x,x\n1,2\n",
        "comma.csv": "x;y\n1,5;2,5\n",
        "infinite.csv": "x,y\n1,2\n1,inf\n",
        "latin.csv": "s,x,y\n\xe4,1,2\n".encode("latin-1"),
        "wide.npy": np.zeros((9, 3)),
        "windows.npy": np.zeros((9, 4, 2)),
        "late.csv": "x,y\n" + "1,2\n" * 300_000 + "1,low\n",
        "less.csv": "x\n1\n",
        "semi.csv": "x;y\n1;2\n",
        "t.xlsx": "?",
        "mixed.csv": table[::-1].to_csv(index=False),
    }
    for name in {*texts} & {*arguments}:
        content = texts[name]
        if isinstance(content, np.ndarray):
            np.save(folder / name, content)
        else:
            content = content.encode() if isinstance(content, str) else content
            (folder / name).write_bytes(content)
    if case == "a classifier":
        x, y = np.random.default_rng(0).random((9, 5, 2)), np.arange(9) % 3
        classifier = Classifier(hidden_size=4, max_iter=1, device="cpu", verbose=0)
        classifier.fit(x, y).save(folder / "classifier")
    found = command(*arguments, code=1)
    assert message in found
    assert "Traceback" not in found
    assert "bug of backcast" not in found
    assert found.count("\n") == 1


def test_numbers_with_a_decimal_comma_are_read(
    command: Any, table: pd.DataFrame, folder: Path, tmp_path: Path
) -> None:
    table.to_csv(tmp_path / "t.csv", index=False, sep=";", decimal=",")
    found = command("score", tmp_path / "t.csv", "detector", "--sep", ";", "--decimal", ",")
    with pytest.warns(TrainingWarning, match="5 of 774 rows have no score"):
        expected = AnomalyDetector.load(folder / "detector", device="cpu").scores(table)
    np.testing.assert_allclose(found[["x", "y"]], expected, rtol=1e-9)


def test_a_bug_is_one_line_that_says_where(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_run, "_compute", lambda job, task, place: {}["gone"])
    found = command("score", "t.csv", "detector", code=1)
    assert "KeyError: 'gone' (at line" in found
    assert "bug of backcast" in found
    assert "Traceback" not in found


def test_a_missing_package_is_named_with_its_remedy(
    command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install 'backcast[archive]'" in command("score", "t.csv", "detector", code=1)
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(_files.MissingPackageError, match="pip install zarr"):
        _files.require("zarr", "reading x.zarr")


def test_rows_of_a_small_file_may_be_in_any_order(
    command: Any, table: pd.DataFrame, folder: Path, tmp_path: Path
) -> None:
    mixed = table.sample(frac=1, random_state=0)
    mixed.to_csv(tmp_path / "mixed.csv", index=False)
    found = command("score", tmp_path / "mixed.csv", "detector")
    with pytest.warns(TrainingWarning, match="5 of 774 rows have no score"):
        expected = AnomalyDetector.load(folder / "detector", device="cpu").scores(mixed)
    np.testing.assert_allclose(found[["x", "y"]], expected, rtol=1e-9)


# -- workers ---------------------------------------------------------------------------------------


def test_a_pickle_holds_the_weights_and_little_else() -> None:
    x = np.random.default_rng(0).random((9, 6, 40), dtype=np.float32)
    model = small_model(hidden_size=60).fit(x)
    weights = sum(array.nbytes for array in model.state_dict().values())
    assert weights < len(pickle.dumps(model)) < weights + 10_000


def test_workers_have_one_thread_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    models = [small_model(), small_model(num_threads=3)]
    assert [model._threads() for model in models] == [None, 3]
    monkeypatch.setattr(multiprocessing, "parent_process", object)  # as in a pool's process
    assert [model._threads() for model in models] == [1, 3]
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert [model._threads() for model in models] == [None, 3]


def test_a_calendar_of_a_recording_in_several_parts_is_that_in_memory() -> None:
    six = pd.offsets.CustomBusinessDay(weekmask="Mon Tue Wed Thu Fri Sat")
    hours = pd.date_range("2026-01-05", periods=24 * 40, freq="h")
    days = pd.date_range("2026-01-05", periods=100, freq=six)
    opened = hours[(hours.hour > 7) & (hours.dayofweek < 6)]
    for index in (days, days.delete([50]), opened, hours, hours.delete(range(100, 130))):
        plain, steps = pd.DatetimeIndex(index.to_numpy()), _Steps()
        for first in range(0, len(plain), 70):
            steps.add(plain[max(0, first - 1) : first + 70].to_numpy(), "a file")
        whole = recordings(pd.DataFrame({"x": 1.0}, index=plain), None, None, None, None)
        assert steps.gap("a file") == whole.gap
