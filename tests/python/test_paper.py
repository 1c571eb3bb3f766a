"""The paper's table, at a size of seconds: each row, interruption and resumption, errors."""

import dataclasses
import itertools
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from backcast import Model, data, plot
from backcast.errors import ArgumentError, DataError, FileFormatError
from backcast.experiments import paper
from backcast.experiments.cli import main
from backcast.experiments.paper import _results, _sources, _windows
from backcast.experiments.paper._batches import Batches
from small import assert_same_weights
from test_data_video import noise, write

QUICK = paper.SIZES["digits", "quick"]
ALWAYS = {
    "animation.gif",
    "loss.png",
    "model.safetensors",
    "plan.json",
    "results.json",
    "strip.png",
    "weights_encoder.png",
}
OF_PREDICTIONS = {"activity.png", "longer.gif", "longer.png", "out_of_domain.png"}


def idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def digits_in(folder, images):
    folder.mkdir()
    (folder / "train-images-idx3-ubyte").write_bytes(idx(images))
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(len(images), np.uint8)))
    return folder


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A folder of real digits, which reads faster than the package's 5,000."""
    return digits_in(tmp_path_factory.mktemp("mnist") / "digits", data.digits().images[::10])


@pytest.fixture
def no_films(monkeypatch):
    """Films take longest by far: do without."""
    monkeypatch.setattr(plot, "animate", lambda *arguments, **_: arguments[2].touch())


@contextmanager
def figures_alone():
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_draw", "_stack"):
            patch.setattr(_results, name, lambda *_: None)
        for name in ("activity", "animate", "strip"):
            patch.setattr(plot, name, lambda *_, **__: Figure())
        yield


@pytest.fixture
def no_pictures():
    with figures_alone():
        yield


def inside(*arguments):
    """Run the command line in this process; return its exit code."""
    try:
        return main([*map(str, arguments)])
    except SystemExit as end:
        return end.code


def command(out, digits, *more, model="conditional-composite"):
    """Return the arguments of a quick training."""
    plan = ["--model", model, "--size", "quick", "--out", out, "--data", digits]
    return ["paper", *map(str, plan), "--device", "cpu", "--threads", "1", *map(str, more)]


def results_of(folder):
    """Return the results without times."""
    results = json.loads((folder / "results.json").read_text())
    assert results.pop("seconds") > 0
    return results


# -- each row --------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", paper.MODELS)
def test_each_row_trains_and_is_tested(model, digits, tmp_path, no_films, capsys):
    assert inside(*command(tmp_path, digits, "--updates", "6", model=model)) == 0
    row = paper.MODELS[model]
    made = ["reconstruct", "predict"] if row.decoders == "both" else [row.decoders]
    files = ALWAYS | {f"weights_{name}.png" for name in made}
    results = results_of(tmp_path / model)
    if "predict" in made:
        files |= OF_PREDICTIONS
        assert list(results["out_of_domain"]) == ["1", "2", "3"]
        assert results["out_of_domain"]["2"] == results["measured"]
        assert len(results["longer"]["squared_error_by_step"]) == 100
    assert {file.name for file in (tmp_path / model).iterdir()} == files
    assert results["measured"].keys() == {"cross_entropy", "squared_error"}
    for errors in results["measured"].values():
        assert list(errors) == made
        assert all(error > 0 for error in errors.values())
    assert results["updates"] == 6
    trained = Model.load(tmp_path / model / "model.safetensors", device="cpu")
    assert trained.feedback == {
        name: paper.FEED if name in row.conditional else "none" for name in made
    }
    assert trained.n_iter_ == 6
    printed = capsys.readouterr().out
    assert f"500 of {digits}; the 50 of a seeded tenth held out" in printed
    assert f"| {row.title}" in printed
    assert (tmp_path / "table.md").read_text() in printed


def test_all_means_the_four_of_the_papers_table(monkeypatch):
    asked = []
    monkeypatch.setattr(paper, "run", lambda model, *_, **__: asked.append(model))
    assert inside("paper", "--model", "all") == 0
    assert asked == [name for name, row in paper.MODELS.items() if row.reported]
    assert len(asked) == 4


def test_pictures_are_drawn_and_the_long_film_has_all_steps(digits, tmp_path):
    assert inside(*command(tmp_path, digits, "--updates", "2", model="composite")) == 0
    folder = tmp_path / "composite"
    for file in itertools.chain(folder.glob("*.png"), folder.glob("*.gif")):
        with Image.open(file) as picture:
            assert min(picture.size) > 100
            frames = {"animation.gif": 20, "longer.gif": 110}.get(file.name, 1)
            assert getattr(picture, "n_frames", 1) == frames


def test_figures_are_those_of_the_saved_model_on_digits_held_out(digits, tmp_path, no_pictures):
    assert inside(*command(tmp_path, digits, "--updates", "6")) == 0
    results = results_of(tmp_path / "conditional-composite")
    model = Model.load(tmp_path / "conditional-composite/model.safetensors", device="cpu")
    windows = _sources.digits(QUICK, digits, None).test
    assert len(windows) == QUICK.test_windows
    past, future = windows[:, :10], windows[:, 10:]
    losses = model.losses(past, future, per="frame")
    assert results["measured"]["cross_entropy"] == pytest.approx(losses)
    error = np.square(future / 255 - model.predict(past)).sum((2, 3)).mean()
    assert results["measured"]["squared_error"]["predict"] == pytest.approx(error, rel=1e-5)
    still = np.square(future / 255 - past[:, -1:] / 255).sum((2, 3)).mean()
    assert results["last_frame"] == pytest.approx(still, rel=1e-5)


# -- data ------------------------------------------------------------------------------------------


def test_no_digit_is_both_trained_on_and_tested_on(tmp_path):
    greys = np.arange(1, 101, dtype=np.uint8)  # the grey identifies the digit
    folder = digits_in(tmp_path / "greys", np.ones((100, 28, 28), np.uint8) * greys[:, None, None])
    source = _sources.digits(dataclasses.replace(QUICK, test_windows=300), folder, None)
    trained = set(np.unique(source.draw(300, np.random.default_rng(0)))) - {0}
    tested = set(np.unique(source.test)) - {0}
    assert len(tested) == 10
    assert trained | tested == {*greys}
    assert not trained & tested
    with pytest.raises(DataError, match="must hold at least 10 digits, got 9"):
        few = digits_in(tmp_path / "few", np.ones((9, 28, 28), np.uint8))
        _sources.digits(QUICK, few, None)


def batches(source, seed=0, decoders="both"):
    return Batches(source, QUICK, seed=seed, decoders=decoders, batch_size=8, updates=10)


def test_training_windows_depend_on_seed_and_number_alone(digits):
    source = _sources.digits(QUICK, digits, None)
    unbroken = list(batches(source))
    assert [(len(past), len(future)) for past, future in unbroken] == [(8, 8)] * 10
    for first in range(11):  # chunks are of 4 updates
        resumed = list(batches(source).from_batch(first))
        for batch, again in zip(unbroken[first:], resumed, strict=True):
            for side, same in zip(batch, again, strict=True):
                np.testing.assert_array_equal(side, same)
    pasts = [past for past, _ in unbroken]
    assert not any(np.array_equal(*two) for two in itertools.combinations(pasts, 2))
    assert not np.array_equal(pasts[0], next(iter(batches(source, seed=1)))[0])
    assert [len(batch) for batch in batches(source, decoders="reconstruct")] == [1] * 10


def test_training_windows_are_drawn_chunk_by_chunk_from_the_seed_and_the_update(digits):
    source = _sources.digits(QUICK, digits, None)
    drawn = [
        source.draw(n, np.random.default_rng((_sources.TRAINING, 0, first)))
        for first, n in ((0, 32), (4, 32), (8, 16))
    ]
    given = [np.concatenate(batch, axis=1) for batch in batches(source)]
    np.testing.assert_array_equal(np.concatenate(given), np.concatenate(drawn))


def test_what_goes_wrong_with_the_windows_ends_the_training(digits):
    source = dataclasses.replace(_sources.digits(QUICK, digits, None), draw=lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(batches(source))


def test_the_papers_test_file_is_taken(digits, tmp_path, no_pictures):
    file = tmp_path / "mnist_test_seq.npy"
    windows = np.random.default_rng(0).integers(0, 256, (20, 30, 64, 64), np.uint8)
    np.save(file, windows)
    size = dataclasses.replace(QUICK, side=64, digit=28)
    results = paper.run(
        "composite", size, out=tmp_path, folder=digits, test=file, updates=1, device="cpu"
    )
    assert results["test_set"] == "the 30 windows of mnist_test_seq.npy"
    frames = windows.swapaxes(0, 1) / 255
    still = np.square(frames[:, 10:] - frames[:, 9:10]).sum((2, 3)).mean()
    assert results["last_frame"] == pytest.approx(still, rel=1e-5)
    assert inside(*command(tmp_path / "small", digits, "--test", file)) == 1


def videos_in(folder, *greys, frames=35):
    """Write videos, a.mkv and so on; in each all frames are of one grey of its own."""
    folder.mkdir()
    for name, grey in zip("abc", greys, strict=False):
        write(folder / f"{name}.mkv", np.full((frames, 20, 30, 3), grey, np.uint8))
    return folder


@pytest.mark.parametrize("model", ["composite", "conditional-future-predictor", "autoencoder"])
def test_patches_are_trained_on(model, tmp_path, no_films):
    folder = tmp_path / "videos"
    folder.mkdir()
    for i, name in enumerate("abc"):
        write(folder / f"{name}.mkv", noise(40, seed=i))
    plan = ["--on", "patches", "--updates", "6"]
    assert inside(*command(tmp_path, folder, *plan, model=model)) == 0
    results = results_of(tmp_path / model)
    made = {"composite": ["reconstruct", "predict"], "autoencoder": ["reconstruct"]}
    made = made.get(model, ["predict"])
    assert list(results["measured"]) == ["squared_error"]
    assert list(results["measured"]["squared_error"]) == made
    assert results["test_set"] == "50 windows of c.mkv, which is never trained on"
    assert results["data"] == f"500 windows of 2 videos of {folder}"
    files = ALWAYS | {f"weights_{name}.png" for name in made}
    assert {file.name for file in (tmp_path / model).iterdir()} == files
    trained = Model.load(tmp_path / model / "model.safetensors", device="cpu")
    assert trained.horizon_ == (13 if "predict" in made else 0)
    windows = _sources.patches(paper.SIZES["patches", "quick"], folder, None).test
    losses = trained.losses(*_windows.sides(trained.decoders, windows, 16), per="frame")
    assert results["measured"]["squared_error"] == pytest.approx(losses, rel=1e-5)


def test_no_video_is_both_trained_on_and_tested_on(tmp_path):
    size = paper.SIZES["patches", "quick"]
    folder = videos_in(tmp_path / "videos", 50, 100, 150)
    for test, tested in ((None, 150), (folder / "a.mkv", 50)):
        source = _sources.patches(size, folder, test)
        assert set(np.unique(source.test)) == {tested}
        drawn = source.draw(100, np.random.default_rng(0))
        assert set(np.unique(drawn)) == {50, 100, 150} - {tested}
    with pytest.raises(ArgumentError, match="a video beside the one to test on, got .*a.mkv"):
        _sources.patches(size, videos_in(tmp_path / "one", 50), None)


def test_patches_are_as_many_as_are_held_in_memory(tmp_path):
    files = [*videos_in(tmp_path / "videos", 50, 100).iterdir()]
    size = paper.SIZES["patches", "quick"]
    for most in (1, 5, 14, 50):  # there are 7 places in time in each video
        pool = _sources.pool(files, size, most)
        assert pool.shape == (most, 29, 16, 16)
        assert set(np.unique(pool)) <= {50, 100}
    colour = dataclasses.replace(size, grey=False)
    assert _sources.pool(files, colour, 3).shape == (3, 29, 16, 16, 3)


# -- interruption and resumption -------------------------------------------------------------------


@pytest.fixture(scope="module")
def unbroken(digits, tmp_path_factory):
    """A row trained for 30 updates without a stop."""
    out = tmp_path_factory.mktemp("unbroken")
    with figures_alone():
        assert inside(*command(out, digits, "--updates", "30")) == 0
    return out / "conditional-composite"


def assert_same(folder, unbroken):
    assert results_of(folder) == results_of(unbroken)
    models = (Model.load(f / "model.safetensors", device="cpu") for f in (folder, unbroken))
    assert_same_weights(*models)
    assert not (folder / "checkpoint.safetensors").exists()


def press_ctrl_c(monkeypatch, times):
    """Press Ctrl-C so often when batch 10 is asked for."""
    from_batch = Batches.from_batch

    def pressed(self, k):
        for i, batch in enumerate(from_batch(self, k), k):
            if i == 10:
                for _ in range(times):
                    os.kill(os.getpid(), signal.SIGINT)
            yield batch

    monkeypatch.setattr(Batches, "from_batch", pressed)


def test_ctrl_c_stops_it_and_the_same_command_resumes(
    digits, unbroken, tmp_path, monkeypatch, no_pictures, capsys
):
    arguments = command(tmp_path, digits, "--updates", "30")
    with monkeypatch.context() as patch:
        press_ctrl_c(patch, times=1)
        assert inside(*arguments) == 130
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    folder = tmp_path / "conditional-composite"
    assert {file.name for file in folder.iterdir()} == {"plan.json", "checkpoint.safetensors"}
    updates = Model.load(folder / "checkpoint.safetensors", device="cpu").n_iter_
    assert updates in (10, 11)
    assert "30 updates, from new weights" in capsys.readouterr().out
    asked, from_batch = [], Batches.from_batch
    with monkeypatch.context() as patch:
        patch.setattr(Batches, "from_batch", lambda self, k: asked.append(k) or from_batch(self, k))
        # Without a number, the planned one holds.
        assert inside(*arguments[:-2]) == 0
    assert updates in asked
    assert "30 updates, from the checkpoint" in capsys.readouterr().out
    assert_same(folder, unbroken)


def test_a_second_ctrl_c_stops_it_at_once(digits, unbroken, tmp_path, monkeypatch, no_pictures):
    arguments = command(tmp_path, digits, "--updates", "30", "--checkpoint", "0")
    with monkeypatch.context() as patch:
        press_ctrl_c(patch, times=2)
        assert inside(*arguments) == 130
    folder = tmp_path / "conditional-composite"
    assert 0 < Model.load(folder / "checkpoint.safetensors", device="cpu").n_iter_ <= 11
    assert inside(*arguments) == 0
    assert_same(folder, unbroken)


@pytest.mark.filterwarnings("ignore:.*nearly the same frames")
def test_a_killed_training_resumes_from_its_checkpoint(digits, tmp_path, no_pictures):
    folder, updates = tmp_path / "killed" / "conditional-composite", ("--updates", "400")
    arguments = command(folder.parent, digits, *updates, "--checkpoint", "0.05")
    with subprocess.Popen([sys.executable, "-m", "backcast", *arguments]) as process:
        while not (folder / "checkpoint.safetensors").exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    assert not (folder / "model.safetensors").exists()
    assert 0 < Model.load(folder / "checkpoint.safetensors", device="cpu").n_iter_ < 400
    assert inside(*arguments) == 0
    assert inside(*command(tmp_path / "unbroken", digits, *updates)) == 0
    assert_same(folder, tmp_path / "unbroken" / "conditional-composite")


def test_what_was_trained_but_not_tested_is_tested(digits, unbroken, tmp_path, no_pictures):
    folder = tmp_path / "conditional-composite"
    folder.mkdir()
    for name in ("plan.json", "model.safetensors"):
        shutil.copy(unbroken / name, folder)
    assert inside(*command(tmp_path, digits)) == 0
    assert_same(folder, unbroken)


def test_a_finished_row_is_not_repeated(digits, unbroken, no_pictures, capsys):
    before = {file: file.stat().st_mtime_ns for file in unbroken.iterdir()}
    assert inside(*command(unbroken.parent, digits)) == 0
    told = capsys.readouterr()
    assert "trained and tested already" in told.out
    assert "| Composite with Conditional Future Predictor" in told.out
    assert "step" not in told.err
    assert {file: file.stat().st_mtime_ns for file in unbroken.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--seed", "1"], "random_state must be 0"),
        (["--updates", "31"], "updates must be 30"),
        (["--minutes", "1"], "minutes must be None"),
        (["--size", "small"], "name must be 'quick'"),
        (["--on", "patches"], "on must be 'digits'"),
        (["--feed", "truth"], "feedback must be {'reconstruct': 'none', 'predict': 'output'}"),
        (["--peepholes"], "peepholes must be False"),
        (["--data", "others"], "data must be"),
    ],
)
def test_another_plan_is_refused_and_overwrites_nothing(
    arguments, told, digits, unbroken, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    digits_in(tmp_path / "others", np.ones((20, 28, 28), np.uint8))
    if "patches" in arguments:
        monkeypatch.setitem(
            _sources.SOURCES, "patches", lambda *_: _sources.digits(QUICK, digits, None)
        )
    before = {file: file.stat().st_mtime_ns for file in unbroken.iterdir()}
    assert inside(*command(unbroken.parent, digits, *arguments)) == 1
    error = capsys.readouterr().err
    assert told in error
    assert "use another folder for another plan" in error
    assert {file: file.stat().st_mtime_ns for file in unbroken.iterdir()} == before


def test_minutes_fix_the_number_of_updates_once(digits, tmp_path, no_pictures, capsys):
    timed = tmp_path / "timed"
    assert inside(*command(timed, digits, "--minutes", "0.002", model="composite")) == 0
    results = results_of(timed / "composite")
    assert results["updates"] == results["plan"]["updates"] > 0
    assert f"{results['updates']:,} in 0.002 minutes" in capsys.readouterr().out
    counted = ("--updates", results["updates"])
    assert inside(*command(tmp_path / "counted", digits, *counted, model="composite")) == 0
    again = results_of(tmp_path / "counted" / "composite")
    assert results["plan"].pop("minutes") == 0.002
    assert again["plan"].pop("minutes") is None
    assert again == results
    # Either way of asking for it again is the same plan.
    for more in (("--minutes", "0.002"), counted):
        assert inside(*command(timed, digits, *more, model="composite")) == 0


# -- reported and measured -------------------------------------------------------------------------


def test_what_the_paper_reports_stands_apart_and_at_its_size_alone(digits, tmp_path, no_pictures):
    size = dataclasses.replace(QUICK, name="full")
    for model in ("composite", "autoencoder"):
        paper.run(model, size, out=tmp_path, folder=digits, updates=1, device="cpu")
    results = results_of(tmp_path / "composite")
    assert results["as_reported"] == {"predict": 344.9, "note": paper.NOTE}
    assert "344.9" not in json.dumps(results["measured"])
    assert results_of(tmp_path / "autoencoder")["as_reported"] is None
    head, _, composite, autoencoder = paper.table(tmp_path).splitlines()[2:6]
    assert head.endswith("| as reported: future, nats |")
    assert composite.endswith("| 344.9 |")
    assert autoencoder.endswith("|  |")
    table = paper.table(tmp_path)
    assert "recalled, not checked against the paper's PDF" in table
    assert "not the paper's file" in table


def test_patches_reported_and_measured_do_not_compare(tmp_path, no_pictures):
    size = dataclasses.replace(paper.SIZES["patches", "quick"], name="full")
    folder = videos_in(tmp_path / "videos", 50, 100)
    paper.run("composite", size, out=tmp_path, folder=folder, updates=1, device="cpu")
    table = paper.table(tmp_path)
    assert "as reported: future, squared error" in table
    assert "210.7" in table
    assert "not halved here; the authors' program reports halves" in table


def test_at_other_sizes_nothing_is_reported(unbroken):
    assert results_of(unbroken)["as_reported"] is None
    assert "reported" not in paper.table(unbroken.parent)


def test_test_sets_do_not_share_a_table(unbroken, tmp_path):
    for model, test_set in (("composite", "these windows"), ("future-predictor", "those windows")):
        shutil.copytree(unbroken, tmp_path / model)
        file = tmp_path / model / "results.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"test_set": test_set}))
    table = paper.table(tmp_path)
    assert table.count("| measured here |") == 2
    assert "these windows" in table
    assert "those windows" in table


def test_a_damaged_file_is_an_error(digits, unbroken, tmp_path):
    shutil.copytree(unbroken, tmp_path / "composite")
    (tmp_path / "composite" / "results.json").write_text("{")
    with pytest.raises(FileFormatError, match="results.json must be as backcast wrote it"):
        paper.table(tmp_path)


# -- the full size ---------------------------------------------------------------------------------


def test_full_is_the_papers_size(monkeypatch):
    asked = []
    monkeypatch.setattr(
        paper, "run", lambda *positional, **named: asked.append((positional, named))
    )
    assert inside("paper", "--model", "composite", "--size", "full", "--minutes", "5") == 0
    [((model, size), named)] = asked
    assert (model, named["minutes"], named["updates"]) == ("composite", 5.0, None)
    assert (size.past, size.future, size.side, size.digit) == (10, 10, 64, 28)
    assert (size.model["num_layers"], size.model["hidden_size"]) == (2, 2048)
    assert size.model["loss"] == "bce"
    assert size.test_windows == 10_000
    patches = paper.SIZES["patches", "full"]
    assert (patches.past, patches.future, patches.side, patches.grey) == (16, 13, 32, False)
    assert (patches.model["num_layers"], patches.model["hidden_size"]) == (2, 2048)
    assert patches.model["loss"] == "mse"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_full_size_trains(digits, tmp_path, no_pictures, monkeypatch):
    monkeypatch.setattr(_results, "LONGER_WINDOWS", 4)
    size = dataclasses.replace(paper.SIZES["digits", "full"], test_windows=8, chunk=1)
    results = paper.run("composite", size, out=tmp_path, folder=digits, updates=2, device="cpu")
    # An untrained model finds each pixel as likely as not.
    assert results["measured"]["cross_entropy"]["predict"] < 4096 * np.log(2)
    model = Model.load(tmp_path / "composite/model.safetensors", device="cpu")
    assert sum(array.size for array in model.state_dict().values()) == 201_433_088


# -- errors ----------------------------------------------------------------------------------------


def test_help_names_every_model_file_and_option(capsys):
    assert inside("paper", "--help") == 0
    told = capsys.readouterr().out
    options = "--model --on --size --out --minutes --updates --feed --peepholes --data --test"
    options += " --checkpoint --seed --device --threads"
    files = {name for name in ALWAYS | OF_PREDICTIONS if "weights" not in name}
    for word in [*options.split(), *paper.MODELS, *files, "all", "GPU", "Ctrl-C", "table.md"]:
        assert word in told


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ([], 2, "required: --model"),
        (["--model", "transformer"], 2, "invalid choice: 'transformer'"),
        (["--model", "composite", "--size", "huge"], 2, "invalid choice: 'huge'"),
        (["--model", "composite", "--updates", "3", "--minutes", "1"], 2, "not allowed with"),
        (["--model", "composite", "--updates", "0"], 1, "updates must be at least 1, got 0"),
        (["--model", "composite", "--minutes", "0"], 1, "minutes must be greater than 0, got 0.0"),
        (["--model", "composite", "--minutes", "nan"], 1, "minutes must be greater than 0"),
        (["--model", "composite", "--data", "nowhere"], 1, "nowhere must hold train-images"),
        (["--model", "composite", "--test", "nowhere.npy"], 1, "nowhere.npy"),
        (["--model", "composite", "--out", "file"], 1, "file"),
    ],
)
def test_an_error_is_one_line(arguments, code, told, digits, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert inside("paper", "--size", "quick", "--data", digits, *arguments) == code
    assert told in capsys.readouterr().err


def test_arguments_of_run_are_checked(tmp_path):
    with pytest.raises(ArgumentError, match="model must be one of future-predictor, composite"):
        paper.run("transformer", QUICK, out=tmp_path)
    with pytest.raises(ArgumentError, match="updates must be None where minutes are given, got 3"):
        paper.run("composite", QUICK, out=tmp_path, updates=3, minutes=1)
    with pytest.raises(ArgumentError, match='feed must be "scheduled", "output" or "truth"'):
        paper.run("composite", QUICK, out=tmp_path, feed="none")
    assert not [*Path(tmp_path).iterdir()]
