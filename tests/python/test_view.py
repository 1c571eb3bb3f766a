"""What a notebook shows: a fitted model's table, a bar, errors no longer than need be."""

import math
import pickle
import re
import warnings
from html import unescape
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import sklearn
from nbclient import NotebookClient

from backcast import AnomalyDetector, Classifier, Forecaster, Model
from backcast._training.progress import Progress
from small import FUTURE, PAST, X, small_model

LABELS = np.arange(12) % 3


def table(estimator: Any) -> dict[str, str]:
    """Return the rows that we add to scikit-learn's view."""
    ours = estimator._repr_html_().rpartition("</body>")[2]  # what comes after scikit-learn's
    assert "<script" not in ours and "color" not in ours  # of the notebook's theme
    rows = re.findall(r"<tr><th[^>]*>([^<]*)</th><td[^>]*>([^<]*)</td></tr>", ours)
    return {name: unescape(value) for name, value in rows}


def classifier(**params: Any) -> Classifier:
    options = {"hidden_size": 6, "max_iter": 3, "batch_size": 5, "random_state": 0}
    return Classifier(**({"device": "cpu", "verbose": 0} | options | params))


def test_before_fit_the_view_is_that_of_scikit_learn() -> None:
    assert table(small_model()) == table(classifier()) == {}
    assert "sk-top-container" in small_model()._repr_html_()


def test_a_fitted_model_tells_of_itself() -> None:
    model = small_model(num_layers=2).fit(X, validation=X)
    weights = sum(array.size for array in model.state_dict().values())
    rows = table(model)
    memory = rows.pop("memory")
    last = model.history_[-1]
    training, validation = (
        f"{last[p + 'loss']:.4g} (reconstruct {last[p + 'reconstruct']:.4g}, "
        f"predict {last[p + 'predict']:.4g})"
        for p in ("", "validation_")
    )
    assert rows == {
        "weights": f"{weights:,} ({4 * weights / 1000:.2g} kB)",
        "layers": "2 × 6 units",
        "frame": "3 numbers",
        "horizon": "4 frames",
        "trained on": "12 windows of 4 + 4 frames",
        "updates": "4",
        "device": "cpu",
        "training loss": training,
        "validation loss": validation,
    }
    found = re.fullmatch(
        r"about (\d+) kB in training: (\d+) kB for the weights, (\d+) kB for a batch of 5", memory
    )
    assert found
    total, of_weights, of_batch = map(int, found.groups())
    assert of_weights == round(24 * weights / 1000)
    assert abs(total - of_weights - of_batch) <= 1


def test_a_fitted_classifier_tells_of_itself() -> None:
    model = small_model().fit(X)
    rows = table(classifier(model=model).fit(X, LABELS))
    assert rows["classes"] == "3"
    assert rows["trained on"] == "12 windows of 8 frames"
    assert "horizon" not in rows
    assert "(" not in rows["training loss"]
    assert "sk-top-container" in model._repr_html_()


@pytest.mark.parametrize(
    ("params", "train", "told"),
    [
        ({}, lambda m: m.fit(X, validation=0.25), "9 windows of 4 + 4 frames"),
        ({}, lambda m: m.fit(PAST, FUTURE), "12 windows of 5 + 3 frames"),
        ({"decoders": "reconstruct"}, lambda m: m.fit(X), "12 windows of 8 frames"),
        ({}, lambda m: m.fit([X[0], X[1, :6]], [X[2], X[3]]), "2 windows of 6–8 + 8 frames"),
        ({}, lambda m: m.partial_fit(X), "windows of 4 + 4 frames, in parts"),
        ({}, lambda m: m.fit(X[:n] for n in (5, 3, 5, 3)), "windows of 4 + 4 frames, in parts"),
    ],
)
def test_the_view_tells_what_the_model_was_trained_on(params: Any, train: Any, told: str) -> None:
    assert table(train(small_model(**params)))["trained on"] == told


def test_the_losses_are_drawn_in_the_colour_of_the_text() -> None:
    model = small_model(max_iter=20).fit(X, validation=X)
    drawn = model._repr_html_().rpartition("</body>")[2]
    lines = re.findall(r'<polyline points="([^"]*)"', drawn)
    assert [len(line.split()) for line in lines] == [20, 20]
    heights = [float(point.split(",")[1]) for point in lines[1].split()]
    losses = [record["validation_loss"] for record in model.history_]
    np.testing.assert_array_equal(np.argsort(heights), np.argsort(losses)[::-1])
    assert drawn.count('stroke="currentColor"') == drawn.count("stroke-dasharray") == 1
    assert "<svg" not in small_model(max_iter=1).fit(X)._repr_html_().rpartition("</body>")[2]


def test_a_detector_and_a_forecaster_say_what_they_chose() -> None:
    options = {"hidden_size": 4, "max_iter": 2, "random_state": 0, "device": "cpu", "verbose": 0}
    series = np.sin(np.arange(300) / 3)[:, np.newaxis]
    for estimator, chosen in (
        (AnomalyDetector(options), "decisions_"),
        (Forecaster(24, 12, options), "decisions_"),
    ):
        assert table(estimator) == {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            estimator.fit(series)
        rows = table(estimator)
        assert getattr(estimator, chosen).items() <= rows.items()
        assert rows["updates"] == "2"


def test_a_refused_training_changes_nothing_in_the_view() -> None:
    model = small_model().fit(X)
    before = table(model)
    with pytest.raises(ValueError, match="learning_rate"):
        model.set_params(learning_rate="fast").partial_fit(PAST)
    assert table(model) == before


def test_a_frame_of_one_number_or_of_an_image() -> None:
    assert table(small_model().fit(X[..., :1]))["frame"] == "1 number"
    images = X.repeat(2, axis=2).reshape(12, 8, 2, 3)
    assert table(small_model().fit(images))["frame"] == "2 × 3 numbers"


def test_the_view_survives_files_and_pickles(tmp_path: Path) -> None:
    for estimator in (small_model().fit(X), classifier().fit(X, LABELS)):
        path = tmp_path / "model.safetensors"
        estimator.save(path)
        rows = table(estimator)
        assert len(rows) >= 9
        assert table(type(estimator).load(path, device="cpu")) == rows
        assert table(pickle.loads(pickle.dumps(estimator))) == rows
    checkpoint = tmp_path / "training.safetensors"
    rows = table(small_model().fit(X, checkpoint=checkpoint))
    assert table(small_model().fit(X, checkpoint=checkpoint)) == rows


def test_the_view_of_weights_from_elsewhere_tells_no_training() -> None:
    model = Model.from_state_dict(small_model().fit(X).state_dict(), device="cpu")
    assert list(table(model)) == ["weights", "layers", "frame", "updates", "device"]


def test_the_view_shows_an_interrupted_training() -> None:
    def interrupt(model: Model, record: Any) -> None:
        raise KeyboardInterrupt

    model = small_model(max_iter=5000)
    with pytest.raises(KeyboardInterrupt, match="^training stopped after update 50; its weights"):
        model.fit(X, callback=interrupt)
    assert table(model)["updates"] == "50 of 5,000"
    with pytest.raises(KeyboardInterrupt, match="^training stopped before its first update$"):
        model.fit(broken_off())
    assert table(model)["updates"] == "50 of 5,000"


def broken_off() -> Any:
    raise KeyboardInterrupt
    yield


@pytest.mark.parametrize("odd", [None, "<b>", -1, math.nan, np.zeros(3), {}, object()], ids=repr)
def test_odd_parameters_do_not_break_the_view(odd: Any) -> None:
    for estimator in (small_model().fit(X), classifier().fit(X, LABELS)):
        rows = table(estimator)
        for name, value in estimator.get_params(deep=False).items():
            estimator.set_params(**{name: odd})
            assert table(estimator) == rows
            assert estimator._repr_mimebundle_()["text/plain"] == repr(estimator)
            estimator.set_params(**{name: value})


def test_contents_of_a_file_are_escaped_or_omitted() -> None:
    model = small_model().fit(X)
    model._change(frame_shape=("<b>3</b>",))
    assert "<b>3" not in model._repr_html_()
    assert table(model)["frame"] == "<b>3</b> numbers"
    model._change(history=[{"loss": "<b>"}])
    assert table(model) == {}


def test_a_model_in_use_is_shown_as_far_as_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = small_model(), []
    monkeypatch.setattr(Progress, "on_progress", lambda *_: seen.append(table(model)))
    model.fit(X)
    assert "in use by another thread" in seen[0]["note"]
    assert seen[0]["trained on"] == "12 windows of 4 + 4 frames"


def test_the_view_can_be_switched_off_as_that_of_scikit_learn() -> None:
    model = small_model().fit(X)
    assert set(model._repr_mimebundle_()) == {"text/plain", "text/html"}
    with sklearn.config_context(display="text"):
        assert model._repr_mimebundle_() == {"text/plain": repr(model)}
        assert not hasattr(model, "_repr_html_")


def test_losses_in_the_bar_keep_their_width(capfd: pytest.CaptureFixture[str]) -> None:
    with Progress([], 0, 9, 1, (1.0, 1.0), verbose=1) as progress:
        progress.on_progress(1, {"reconstruct": 0.5, "predict": 1234.5})
    assert "reconstruct=0.5000, predict=1234]" in capfd.readouterr().err


# -- in a kernel -----------------------------------------------------------------------------------

CELLS = {
    "start": """
        import sys
        sys.modules["ipywidgets"] = None  # not installed
        import numpy as np
        from backcast import Model
        from backcast.errors import InternalError
        waves = np.sin(np.arange(20) / 3 + np.arange(64)[:, None])[..., None]
        model = Model(hidden_size=4, max_iter=50, device="cpu", random_state=0)
    """,
    "fit": "model.fit(waves)",
    "argument": "Model(learning_rate='fast').fit(waves)",
    "shape": "model.predict(np.zeros((3, 10, 7)))",
    "callback": """
        def wrong(model, record):
            model.predict(None)
        Model(max_iter=1, verbose=0).fit(waves, callback=wrong)
    """,
    "interrupt": """
        def interrupt(model, record):
            if record["step"] == 4:
                raise KeyboardInterrupt
        model.fit(waves, callback=interrupt)
    """,
    "again": "model.n_iter_, model.predict(waves).shape",
    "bug": """
        model._fitted = lambda: (_ for _ in ()).throw(InternalError("of ours"))
        model.predict(waves)
    """,
}


@pytest.fixture(scope="module")
def outputs() -> dict[str, list[Any]]:
    """Outputs of the cells, run in a kernel without ipywidgets."""
    sources = [re.sub(r"\n {8}", "\n", source).strip() for source in CELLS.values()]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in sources])
    NotebookClient(notebook, timeout=120, allow_errors=True).execute()
    return dict(zip(CELLS, (cell.outputs for cell in notebook.cells), strict=True))


def test_a_notebook_without_ipywidgets_has_a_bar_of_text(outputs: dict[str, list[Any]]) -> None:
    assert outputs["start"] == []
    *bar, shown = outputs["fit"]
    assert {part.name for part in bar} == {"stdout"}  # stderr would be red
    assert "50/50" in "".join(part.text for part in bar)
    assert "<th" in shown.data["text/html"]
    assert shown.data["text/plain"].startswith("Model(")


@pytest.mark.parametrize(
    ("cell", "error", "line"),
    [
        ("argument", "ArgumentError: learning_rate must be a number", "fit(waves)"),
        ("shape", "ShapeError: past must have frames of shape (1,)", "predict(np.zeros"),
        ("callback", "DataError: past must be an array or a table", "model.predict(None)"),
        ("interrupt", "KeyboardInterrupt: training stopped after update 4;", "fit(waves, callback"),
    ],
)
def test_an_error_is_shown_down_to_the_line_that_made_it(
    outputs: dict[str, list[Any]], cell: str, error: str, line: str
) -> None:
    shown = traceback(outputs[cell])
    assert shown.splitlines()[-1].startswith(error)
    assert line in next(each for each in reversed(shown.splitlines()) if "-->" in each)
    if cell != "callback":  # whose caller is ours
        assert ".py" not in shown
        assert len(shown.splitlines()) < 12


def test_after_an_interrupt_the_next_cell_has_the_model(outputs: dict[str, list[Any]]) -> None:
    assert outputs["again"][0].data["text/plain"] == "(4, (64, 10, 1))"


def test_a_bug_of_ours_is_shown_whole(outputs: dict[str, list[Any]]) -> None:
    assert "model.py" in traceback(outputs["bug"])


def traceback(outputs: list[Any]) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(outputs[-1].traceback))
