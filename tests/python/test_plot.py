"""Pictures show the frames given, pixel by pixel, and leave nothing open behind them."""

import io
import subprocess
import sys
from types import SimpleNamespace

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib import dates
from matplotlib.animation import FFMpegWriter
from matplotlib.figure import Figure
from PIL import Image

from backcast import Model, plot
from backcast.anomaly._events import events_of
from backcast.data._recordings import Recordings
from backcast.errors import (
    ArgumentError,
    DataError,
    DecoderError,
    MissingPackageError,
    NotFittedError,
    ShapeError,
)

FRAMES = np.random.default_rng(0).integers(0, 256, (12, 16, 16), dtype=np.uint8)
RECORDS = [
    {"step": 10 * i, "loss": 3.0 * 0.5**i, "reconstruct": 0.5**i, "predict": 2 * 0.5**i}
    for i in range(1, 8)
]


@pytest.fixture(autouse=True)
def _no_figure_is_left_open():
    plt.close("all")
    yield
    assert plt.get_fignums() == []


def pictures(source):
    """Return every picture of a GIF, (n, height, width, 3)."""
    with Image.open(source) as gif:
        shown = []
        for i in range(gif.n_frames):
            gif.seek(i)
            shown.append(np.asarray(gif.convert("RGB")))
        return np.stack(shown)


def pixels(figure):
    """Return what a figure looks like, (height, width, 3)."""
    with io.BytesIO() as png:
        figure.savefig(png, format="png")
        with Image.open(png) as picture:
            return np.asarray(picture.convert("RGB"))


def shown_in(figure, axes):
    """Return the part of a figure that its axes cover."""
    box = axes.get_window_extent()
    whole = pixels(figure)
    top = len(whole) - round(box.y1)
    left = round(box.x0)
    return whole[top : top + round(box.height), left : left + round(box.width)]


# animate


def test_a_gif_has_a_picture_for_each_frame(tmp_path):
    path = tmp_path / "digits.gif"
    assert plot.animate(FRAMES, FRAMES / 255, path, fps=4) == path
    assert len(pictures(path)) == 12
    with Image.open(path) as gif:
        assert gif.info["duration"] == 250 and gif.info["loop"] == 0


def test_both_runs_are_shown_in_the_same_greys():
    # Steps of 17 leave few enough greys for a GIF's palette to be exact.
    coarse = FRAMES // 17 * 17
    movie = pictures(io.BytesIO(plot.animate(coarse, (255 - coarse) / 255).data))
    height, width = movie.shape[1:3]
    top, zoom = height - 44 - 192, 12
    for x, frames in ((width // 2 - 10 - 192, coarse), (width // 2 + 10, 255 - coarse)):
        centres = movie[:, top + 6 : top + 192 : zoom, x + 6 : x + 192 : zoom, 0]
        assert abs(centres.astype(int) - frames).max() <= 4


def test_a_notebook_shows_the_animation_without_a_path():
    gif = plot.animate(FRAMES[:3], FRAMES[:3])
    assert gif.data.startswith(b"GIF8")
    assert gif._repr_html_().startswith('<img src="data:image/gif;base64,R0lGOD')
    assert len(repr(gif)) < 40


def test_the_borders_tell_past_from_future():
    movie = pictures(io.BytesIO(plot.animate(FRAMES[:4], FRAMES[:4], past=3).data))
    height, width = movie.shape[1:3]
    border = movie[:, height - 44 - 96, width // 2 - 10 - 192].astype(int)
    for colour, seen in zip([plot.PAST] * 3 + [plot.FUTURE], border, strict=True):
        expected = np.array(matplotlib.colors.to_rgb(colour)) * 255
        assert abs(seen - expected).max() < 30


def test_the_users_style_does_not_break_an_animation():
    with matplotlib.rc_context({"savefig.bbox": "tight", "savefig.facecolor": "black"}):
        movie = pictures(io.BytesIO(plot.animate(FRAMES[:3], FRAMES[:3]).data))
        assert matplotlib.rcParams["savefig.bbox"] == "tight"
    assert len(movie) == 3 and (movie[:, 0, 0] == 255).all()


@pytest.mark.skipif(not FFMpegWriter.isAvailable(), reason="needs ffmpeg")
def test_an_mp4_is_written_where_there_is_ffmpeg(tmp_path):
    path = plot.animate(FRAMES, FRAMES, tmp_path / "digits.mp4")
    assert path.read_bytes()[4:8] == b"ftyp"


def test_without_ffmpeg_an_mp4_is_refused_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setitem(matplotlib.rcParams, "animation.ffmpeg_path", "no-such-program")
    with pytest.raises(MissingPackageError, match=r"needs the program ffmpeg.*or write a \.gif"):
        plot.animate(FRAMES, FRAMES, tmp_path / "digits.mp4")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "match", "arguments", "options"),
    [
        (ShapeError, r"as original, \(12, 16, 16, 1\), got \(11,", (FRAMES, FRAMES[1:]), {}),
        (
            ShapeError,
            r"generated must .* each a picture.* got \(12, 16\)",
            (FRAMES, FRAMES[0, :12]),
            {},
        ),
        (ShapeError, "frames of one window", (FRAMES[np.newaxis], FRAMES), {}),
        (DataError, "original must have at least one frame", (FRAMES[:0], FRAMES[:0]), {}),
        (DataError, "real numbers, got dtype complex", (FRAMES * 1j, FRAMES), {}),
        (ArgumentError, r"must end in \.gif or \.mp4, got 'a\.avi'", (FRAMES, FRAMES, "a.avi"), {}),
        (ArgumentError, r"past must be in 0\.\.12, .* got 13", (FRAMES, FRAMES), {"past": 13}),
        (ArgumentError, "fps must be greater than 0, got 0", (FRAMES, FRAMES), {"fps": 0}),
    ],
)
def test_animate_refuses(error, match, arguments, options):
    with pytest.raises(error, match=match):
        plot.animate(*arguments, **options)


# strip


def test_a_strip_shows_every_frame_in_its_place():
    truth, model = FRAMES, 255 - FRAMES
    figure = plot.strip(truth[:7], model[:7] / 255, truth[7:], model[7:] / 255)
    past, future = figure.axes
    for axes, frames in ((past, slice(0, 7)), (future, slice(7, 12))):
        shown = shown_in(figure, axes)
        for row, run in enumerate((truth, model)):
            for column, frame in enumerate(run[frames]):
                y, x = row * 17 * 4, column * 17 * 4
                expected = frame.repeat(4, axis=0).repeat(4, axis=1)
                seen = shown[y : y + 64, x : x + 64]
                assert abs(seen - expected[..., np.newaxis].astype(int)).max() <= 1


def test_a_strip_labels_its_rows():
    past, future = plot.strip(FRAMES[:7], FRAMES[:7], FRAMES[7:], FRAMES[7:]).axes
    assert [past.get_title(), future.get_title()] == ["past", "future"]
    assert [past.get_xlabel(), future.get_xlabel()] == ["reconstruction", "prediction"]
    assert [label.get_text() for label in past.get_yticklabels()] == ["truth", "model"]
    steps = [label.get_text() for axes in (past, future) for label in axes.get_xticklabels()]
    assert steps == [str(t) for t in range(1, 13)]


def test_a_strip_leaves_out_what_is_not_given():
    (past,) = plot.strip(FRAMES).axes
    assert past.images[0].get_array().shape[0] == 16 and past.get_xlabel() == ""
    past, future = plot.strip(FRAMES[:4], prediction=FRAMES).axes
    assert past.get_xlabel() == "" and future.get_xlabel() == "prediction"
    assert not future.images[0].get_array()[:16, :, 3].any()  # no truth to show
    assert future.images[0].get_array()[17:33, :16, 3].all()


def test_a_long_strip_is_thinned_to_fit():
    long = np.zeros((100, 64, 64))
    past, future = plot.strip(long, long, long, long).axes
    steps = [int(label.get_text()) for ax in (past, future) for label in ax.get_xticklabels()]
    assert steps == [*range(1, 101, 10), *range(101, 201, 10)]
    (axes,) = plot.strip(long, every=50).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "51"]


def test_floats_beyond_0_to_1_go_from_the_truths_least_to_its_greatest():
    truth = np.linspace(-3, 5, 128).reshape(2, 8, 8)
    (axes,) = plot.strip(truth, 10 * truth).axes
    shades = axes.images[0].get_array()
    assert shades[0, 0, 0] == 0 and shades[7, 16, 0] == 255  # gap of 1: frame 2 ends at column 16
    assert abs(int(shades[7, 7, 0]) - 127) <= 1
    assert shades[9, 0, 0] == 0 and shades[16, 16, 0] == 255  # the model's are cut off


def test_colour_frames_keep_their_colours():
    red = np.zeros((2, 8, 8, 3), np.uint8)
    red[..., 0] = 255
    (axes,) = plot.strip(red).axes
    assert (axes.images[0].get_array()[0, 0] == [255, 0, 0, 255]).all()


def test_large_and_missing_pixels_do_no_harm():
    large = np.random.default_rng(0).random((3, 120, 160))
    large[0] = np.nan
    assert pixels(plot.strip(large, large)).shape[1] < 1000


@pytest.mark.parametrize(
    ("error", "match", "arguments", "options"),
    [
        (ShapeError, "past must be the frames of one window", (FRAMES[0],), {}),
        (
            ShapeError,
            "reconstruction must have as many frames as past, 12, got 11",
            (FRAMES, FRAMES[1:]),
            {},
        ),
        (
            ShapeError,
            r"future must have frames of past's size, \(16, 16\), got \(8, 16\)",
            (FRAMES, None, FRAMES[:, :8]),
            {},
        ),
        (
            DataError,
            "prediction must have at least one frame",
            (FRAMES, None, None, FRAMES[:0]),
            {},
        ),
        (ArgumentError, "every must be at least 1, got 0", (FRAMES,), {"every": 0}),
    ],
)
def test_strip_refuses(error, match, arguments, options):
    with pytest.raises(error, match=match):
        plot.strip(*arguments, **options)


# loss_curve


def test_the_loss_curve_draws_every_record():
    axes = plot.loss_curve(RECORDS)
    lines = {line.get_label(): line for line in axes.lines}
    assert list(lines) == ["total", "reconstruct", "predict"]
    for label, key in (("total", "loss"), ("reconstruct", "reconstruct"), ("predict", "predict")):
        assert list(lines[label].get_xdata()) == [record["step"] for record in RECORDS]
        assert list(lines[label].get_ydata()) == [record[key] for record in RECORDS]
    assert axes.get_xlabel() and axes.get_ylabel()


def test_the_loss_curve_draws_validation_losses_dashed():
    records = [
        {"step": 10 * i, "loss": 1 / i, "predict": 1 / i, "validation_loss": 2 / i} for i in (1, 2)
    ]
    ax = plot.loss_curve(records)
    lines = {line.get_label(): line for line in ax.get_lines()}
    assert set(lines) == {"total", "total, validation", "predict"}
    np.testing.assert_array_equal(lines["total, validation"].get_ydata(), [2, 1])
    assert lines["total, validation"].get_linestyle() == "--"
    assert lines["total, validation"].get_color() == lines["total"].get_color()


def test_the_loss_curve_is_logarithmic_where_the_loss_fell_far():
    assert plot.loss_curve(RECORDS).get_yscale() == "log"
    assert plot.loss_curve(RECORDS[:2]).get_yscale() == "linear"


def test_a_decoder_that_is_not_there_is_not_drawn():
    records = [{"step": 1, "loss": 1.0, "predict": 1.0}]
    axes = plot.loss_curve(records)
    assert [line.get_label() for line in axes.lines] == ["total", "predict"]


def test_the_loss_curve_takes_a_model_and_the_users_axes():
    figure, (left, right) = plt.subplots(1, 2)
    assert plot.loss_curve(SimpleNamespace(history_=RECORDS), ax=right) is right
    assert len(right.lines) == 3 and not left.lines
    plt.close(figure)


@pytest.mark.parametrize(
    ("error", "match", "history"),
    [
        (NotFittedError, "model must be fitted", SimpleNamespace(fit=None)),
        (ArgumentError, "a fitted model or its history_, got int", 3),
        (ArgumentError, "a fitted model or its history_, got str", "loss"),
        (DataError, "a step and a loss", []),
        (DataError, "a step and a loss", [{"loss": 1.0}]),
    ],
)
def test_loss_curve_refuses(error, match, history):
    with pytest.raises(error, match=match):
        plot.loss_curve(history)


# weights


def model_of(frame_shape, **params):
    """Return a model of 8 units with random weights, those of pixel 3 zero, and the weights."""
    frames = np.zeros((1, 2, *frame_shape))
    new = Model(8, horizon=1, max_iter=1, device="cpu", verbose=0, random_state=0, **params)
    arrays = new.fit(frames).state_dict()
    rng = np.random.default_rng(0)
    for name, array in arrays.items():
        arrays[name] = rng.normal(size=array.shape).astype(np.float32)
    arrays["encoder.lstm.weight_ih_l0"][:, 3] = 0
    model = Model.from_state_dict(arrays, frame_shape, device="cpu", **params)
    return model, arrays


def as_greys(vectors):
    """Return weights of shape (n, D) as shades: -largest, 0, largest are 0, 127.5, 255."""
    return 127.5 + 127.5 * vectors / abs(vectors).max(axis=1, keepdims=True)


def images_in(figure, axes, height, width, zoom):
    """Return the images in a panel, (n, height, width, 3), a number for each pixel, row by row."""
    shown = shown_in(figure, axes)[zoom // 2 :: zoom, zoom // 2 :: zoom]
    rows, columns = (shown.shape[0] + 1) // (height + 1), (shown.shape[1] + 1) // (width + 1)
    return np.stack(
        [
            shown[y : y + height, x : x + width]
            for y in np.arange(rows) * (height + 1)
            for x in np.arange(columns) * (width + 1)
        ]
    )


def test_each_gates_weights_are_images_by_their_norm():
    model, arrays = model_of((4, 5))
    figure = plot.weights(model)
    assert [axes.get_title() for axes in figure.axes] == [
        "input gate",
        "forget gate",
        "candidate",
        "output gate",
    ]
    corners = [axes.get_window_extent().p0 for axes in figure.axes]
    assert corners[0][0] < corners[1][0] and corners[0][1] > corners[2][1]
    gates = np.split(arrays["encoder.lstm.weight_ih_l0"], 4)
    for axes, gate in zip(figure.axes, gates, strict=True):
        expected = as_greys(gate[np.argsort(np.linalg.norm(gate, axis=1))[::-1]])
        seen = images_in(figure, axes, 4, 5, zoom=12)  # 6 to a row: 12 places, the last 4 empty
        assert abs(seen[:8].reshape(8, 20, 3) - expected[..., np.newaxis]).max() <= 1
        assert (seen[:8, 0, 3] == 127).all() and (seen[8:] == 255).all()


@pytest.mark.parametrize("part", ["reconstruct", "predict"])
def test_a_decoders_weights_to_the_frame_are_images(part):
    model, arrays = model_of((4, 5))
    figure = plot.weights(model, part, units=2)
    (axes,) = figure.axes
    assert axes.get_title() == f"{part} decoder"
    columns = arrays[f"{part}_decoder.fc.weight"].T
    largest = columns[np.argsort(np.linalg.norm(columns, axis=1))[:-3:-1]]
    seen = images_in(figure, axes, 4, 5, zoom=12).reshape(-1, 20, 3)
    assert len(seen) == 2 and abs(seen - as_greys(largest)[..., np.newaxis]).max() <= 1


def test_units_are_the_same_in_all_gates_when_named():
    model, arrays = model_of((4, 5))
    figure = plot.weights(model, units=[5, 0, 5])
    gates = np.split(arrays["encoder.lstm.weight_ih_l0"], 4)
    for axes, gate in zip(figure.axes, gates, strict=True):
        seen = images_in(figure, axes, 4, 5, zoom=12).reshape(-1, 20, 3)
        assert abs(seen - as_greys(gate[[5, 0, 5]])[..., np.newaxis]).max() <= 1


def test_weights_to_colour_frames_are_in_colour():
    model, arrays = model_of((4, 5, 3))
    figure = plot.weights(model, units=[2])
    expected = as_greys(arrays["encoder.lstm.weight_ih_l0"][[2]]).reshape(1, 4, 5, 3)
    assert abs(images_in(figure, figure.axes[0], 4, 5, zoom=12) - expected).max() <= 1


def test_weights_of_zero_are_grey():
    arrays = {k: 0 * v for k, v in model_of((4, 5))[1].items()}
    figure = plot.weights(Model.from_state_dict(arrays, (4, 5), device="cpu"))
    assert (images_in(figure, figure.axes[0], 4, 5, zoom=12)[:8] == 127).all()


@pytest.mark.parametrize("frame_shape", [(2, 2), (8, 40), (40, 8), (64, 64), (120, 160)])
def test_weights_fit_into_a_notebook(frame_shape):
    frames = np.zeros((1, 2, *frame_shape))
    model = Model(60, init="paper", max_iter=1, device="cpu", verbose=0).fit(frames)
    for units in (1, 60):
        figure = plot.weights(model, units=units)
        assert figure.bbox.width == 1000
        for axes in figure.axes:
            box = axes.get_window_extent()
            assert 0 <= box.x0 % 500 and box.x0 % 500 + box.width <= 500
            height, width, _ = axes.images[0].get_array().shape
            assert box.width / width == pytest.approx(box.height / height, rel=0.01)


@pytest.mark.parametrize(
    ("error", "match", "model", "arguments"),
    [
        (NotFittedError, "not fitted yet", Model(), {}),
        (ArgumentError, "part must be \"encoder\", .* got 'decoder'", (4, 5), {"part": "decoder"}),
        (DecoderError, "no reconstruct decoder", (4, 5), {"part": "reconstruct"}),
        (ShapeError, r"pictures, .* got frame_shape_ \(5,\)", (5,), {}),
        (ShapeError, r"got frame_shape_ \(4, 5, 2\)", (4, 5, 2), {}),
        (ArgumentError, "units must be at least 1, got 0", (4, 5), {"units": 0}),
        (ArgumentError, r"units must be in 0\.\.7, got \[0, 8\]", (4, 5), {"units": [0, 8]}),
        (ArgumentError, r"units must be in 0\.\.7, got \[-1\]", (4, 5), {"units": [-1]}),
        (ArgumentError, "or their indices, got 2.5", (4, 5), {"units": 2.5}),
        (ArgumentError, r"or their indices, got \[\]", (4, 5), {"units": []}),
    ],
)
def test_weights_refuses(error, match, model, arguments):
    if isinstance(model, tuple):
        model, _ = model_of(model, decoders="predict")
    with pytest.raises(error, match=match):
        plot.weights(model, **arguments)


# activity

KEYS = ["input_gate", "forget_gate", "candidate", "output_gate", "cell", "hidden"]


def made_up_traces(steps=30, units=50):
    """Return random traces of 2 windows and 2 layers; unit 7 varies most, then 8, and so on."""
    rng = np.random.default_rng(0)
    traces = {key: rng.uniform(-1, 1, (2, steps, 2, units)) for key in KEYS}
    for key in KEYS:
        if key.endswith("gate"):
            traces[key] = abs(traces[key])
    traces["cell"] *= 5
    swing = np.roll(np.linspace(1, 0.01, units), 7)
    traces["hidden"] = (
        swing * np.sin(np.arange(steps))[:, np.newaxis, np.newaxis] * np.ones((2, 1, 2, 1))
    )
    return traces


def colour_at(figure, axes, x, y):
    """Return the colour of a point given in the axes' data, RGB of 0..255."""
    seen = pixels(figure)
    left, up = axes.transData.transform((x, y))
    return seen[int(len(seen) - up), int(left)].astype(int)


def test_activity_has_a_panel_for_each_gate_the_cell_and_the_output():
    traces = made_up_traces()
    axes = plot.activity(traces).axes[:6]
    assert [ax.get_title() for ax in axes] == [key.replace("_", " ") for key in KEYS]
    for key, ax in zip(KEYS, axes, strict=True):
        units_over_time = traces[key][0, :, -1, 7:47].T
        assert (ax.images[0].get_array() == units_over_time).all()


def test_activity_is_of_the_window_layer_and_units_asked_for():
    traces = made_up_traces()
    axes = plot.activity(traces, [3, 49, 4], window=1, layer=0).axes[:6]
    for key, ax in zip(KEYS, axes, strict=True):
        assert (ax.images[0].get_array() == traces[key][1, :, 0, [3, 49, 4]]).all()
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["3", "49", "4"]
    assert len(plot.activity(traces, 51).axes[0].images[0].get_array()) == 50


def test_activity_has_scales_that_a_reader_knows():
    traces = made_up_traces()
    figure = plot.activity(traces, [0, 1])
    panels = dict(zip(KEYS, figure.axes[:6], strict=True))
    largest = abs(traces["cell"][0, :, -1, :2]).max()
    scales = {key: axes.images[0].get_clim() for key, axes in panels.items()}
    assert scales == dict.fromkeys(["input_gate", "forget_gate", "output_gate"], (0, 1)) | {
        "candidate": (-1, 1),
        "cell": (-largest, largest),
        "hidden": (-1, 1),
    }
    bars = [[label.get_text() for label in bar.get_yticklabels()] for bar in figure.axes[6:]]
    assert len(bars) == 6 and bars[0] == ["0.0", "0.5", "1.0"] and bars[2] == ["−1", "0", "1"]


def test_activity_is_drawn_in_the_order_of_time_and_units():
    traces = {key: np.zeros((1, 4, 1, 3)) for key in KEYS}
    traces["input_gate"][0, 2, 0, 1] = 1  # step 3, the second row
    traces["candidate"][0, 3, 0, 2] = -1
    traces["hidden"][0, 0, 0, 0] = 1
    figure = plot.activity(traces, [0, 1, 2])
    gate, candidate, hidden = (figure.axes[i] for i in (0, 2, 5))
    assert colour_at(figure, gate, 3, 1).min() > 250 and colour_at(figure, gate, 2, 1).max() < 5
    red, _, blue = colour_at(figure, candidate, 4, 2)
    assert blue > red + 50
    red, _, blue = colour_at(figure, hidden, 1, 0)
    assert red > blue + 50
    assert colour_at(figure, hidden, 2, 0).min() > 240
    assert colour_at(figure, figure.axes[4], 1, 0).min() > 240  # a cell that stayed at zero


def test_a_line_marks_where_training_ended():
    traces = made_up_traces()
    figure = plot.activity(traces, mark=10)
    expected = np.array(matplotlib.colors.to_rgb(plot.FUTURE)) * 255
    for axes in figure.axes[:6]:
        assert abs(colour_at(figure, axes, 10.5, 20) - expected).max() < 30
    assert "never trained" in figure.get_supxlabel()
    without = plot.activity(traces)
    assert not any(axes.lines for axes in without.axes) and without.get_supxlabel() == "step"


@pytest.mark.parametrize(
    ("error", "match", "change", "options"),
    [
        (DataError, "traces must hold input_gate, .*, hidden, got predict", None, {}),
        (
            ShapeError,
            r"cell must be of shape .* got \(30, 2, 50\)",
            {"cell": np.zeros((30, 2, 50))},
            {},
        ),
        (ShapeError, "hidden must be .* same as input", {"hidden": np.zeros((2, 30, 2, 49))}, {}),
        (
            DataError,
            "at least one window, step and unit",
            dict.fromkeys(KEYS, np.zeros((2, 0, 2, 50))),
            {},
        ),
        (ArgumentError, r"window must be in -2\.\.1, got 2", {}, {"window": 2}),
        (ArgumentError, r"layer must be in -2\.\.1, got -3", {}, {"layer": -3}),
        (ArgumentError, r"mark must be in 0\.\.30, got 31", {}, {"mark": 31}),
        (ArgumentError, r"units must be at least 1, got -1", {}, {"units": -1}),
        (ArgumentError, r"units must be in 0\.\.49, got \[50\]", {}, {"units": [50]}),
    ],
)
def test_activity_refuses(error, match, change, options):
    traces = {"predict": {}} if change is None else made_up_traces() | change
    with pytest.raises(error, match=match):
        plot.activity(traces, **options)


# scores


def scored(columns=1, n=200):
    series = np.sin(np.arange(n)[:, None] / 10 + np.arange(columns))
    scores = np.full((n, columns), 0.5)
    scores[120:125] = 40
    return series, scores


def test_scores_have_a_panel_for_each_column_and_one_for_the_rows():
    series, scores = scored(3)
    index = pd.date_range("2026-01-01", periods=200, freq="h")
    table = pd.DataFrame(series, index=index, columns=["a", "b", "c"])
    events = pd.DataFrame({"start": index[[120]], "end": index[[124]]})
    figure = plot.scores(table, scores, 3.0, events)
    assert [ax.get_title("left") for ax in figure.axes] == ["a", "b", "c", "score"]
    for ax, column in zip(figure.axes[:3], "abc", strict=True):
        np.testing.assert_array_equal(ax.lines[0].get_ydata(), table[column])
        assert len(ax.patches) == 1
    below = figure.axes[-1]
    np.testing.assert_allclose(below.lines[0].get_ydata(), scores[:, 0])
    np.testing.assert_array_equal(below.lines[1].get_ydata(), [3, 3])
    assert below.get_yscale() == "log"
    shaded = below.patches[0].get_window_extent()
    peak = below.transData.transform((dates.date2num(index[122]), 1))[0]
    assert shaded.x0 < peak < shaded.x1


def test_scores_are_drawn_on_a_column_of_time_and_of_the_columns_scored():
    series, scores = scored(2)
    table = pd.DataFrame(series, columns=["a", "b"])
    table["day"] = np.arange(200) + 5.0
    table["machine"] = 1
    figure = plot.scores(table, pd.DataFrame(scores, columns=["a", "b"]), time="day")
    assert [ax.get_title("left") for ax in figure.axes] == ["a", "b", "score"]
    assert figure.axes[0].lines[0].get_xdata()[0] == 5
    assert figure.axes[-1].get_xlabel() == "day"


@pytest.mark.parametrize("kind", ["zoned", "durations", "periods", "words"])
def test_scores_are_drawn_on_any_index(kind):
    series, scores = scored()
    index = {
        "zoned": pd.date_range("2026-01-01", periods=200, freq="h", tz="Asia/Seoul"),
        "durations": pd.timedelta_range("0s", periods=200, freq="10ms"),
        "periods": pd.period_range("2026-01-01", periods=200, freq="D"),
        "words": pd.Index([f"w{i}" for i in range(200)]),
    }[kind]
    table = pd.DataFrame(series, index=index, columns=["a"])
    events = pd.DataFrame({"start": index[[120]], "end": index[[124]]})
    figure = plot.scores(table, scores, events=events)
    pixels(figure)
    ax = figure.axes[0]
    x = np.asarray(ax.lines[0].get_xdata(orig=False), dtype=float)
    left, right = ax.patches[0].get_x(), ax.patches[0].get_x() + ax.patches[0].get_width()
    np.testing.assert_allclose([left, right], x[[120, 124]])
    if kind == "zoned":
        assert dates.num2date(x[0]).hour == 0  # as on the user's own clock


def test_scores_of_several_recordings_have_panels_of_their_own():
    series, scores = scored(2)
    days = pd.date_range("2026-01-01", periods=200, freq="D")
    parts = {
        f"site {i}": pd.DataFrame(series + i, index=days, columns=["a", "b"]) for i in range(7)
    }
    every = np.concatenate([scores] * 7)
    every[200 * 6 + 50, 1] = 100
    every[:200] = 0.1
    events = pd.DataFrame({"group": ["site 6"], "start": days[[50]], "end": days[[50]]})
    figure = plot.scores(parts, every, 50, events)
    titles = [ax.get_title("left") for ax in figure.axes]
    expected = [[f"site {i}: {'b' if i == 6 else 'a'}", "score"] for i in (1, 2, 3, 4, 6)]
    assert titles == sum(expected, [])
    assert [len(ax.patches) for ax in figure.axes] == [0] * 8 + [1, 1]
    np.testing.assert_array_equal(figure.axes[8].lines[0].get_ydata(), parts["site 6"]["b"])
    assert figure.get_supxlabel() == (
        "The 5 of 7 recordings with the highest scores. "
        "Of each, the column with the highest scores."
    )
    # A threshold above all scores is in the picture.
    assert figure.axes[1].get_ylim()[1] > 50
    # Columns that name recordings and times, on axes of one's own.
    table = pd.concat(parts, names=["site", "day"]).reset_index()[:400]
    mine, axes = plt.subplots(4)
    events = events.rename(columns={"group": "site"})
    assert plot.scores(table, every[:400], None, events, group="site", time="day", ax=axes) is mine
    assert [len(ax.patches) for ax in axes] == [0] * 4
    plt.close(mine)
    with pytest.raises(ArgumentError, match="group must be a column of the table, got 'place'"):
        plot.scores(table, every[:400], group="place")


def test_panels_of_a_recording_have_one_axis_although_rows_lack_scores():
    hours = pd.date_range("2026-01-01", periods=40, freq="h")
    parts = [
        pd.DataFrame({"at": hours[:n], "x": np.arange(float(n)), "m": m})
        for n, m in ((40, "a"), (30, "b"))
    ]
    table = pd.concat(parts, ignore_index=True)
    rows = np.where(table["x"] < 9, np.nan, 1.0)
    figure = plot.scores(table[["at", "m", "x"]], rows, group="m", time="at")
    limits = [axes.get_xlim() for axes in figure.axes]
    assert limits[0] == limits[1] and limits[2] == limits[3] and limits[0] != limits[2]
    # The stretch without a score is hatched in all panels of its recording, and named.
    for axes in figure.axes:
        (hatched,) = axes.collections
        assert (hatched.get_hatch(), len(hatched.get_paths())) == ("////", 1)
        ends = hatched.get_paths()[0].vertices[:, 0]
        np.testing.assert_allclose([ends.min(), ends.max()], dates.date2num(hours[[0, 8]]))
    labels = [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
    assert labels == ["no score"]
    assert not plot.scores(table["x"], np.nan_to_num(rows, nan=1.0)).axes[0].collections
    plt.close(figure)


def test_single_rows_without_a_score_are_short_lines_below():
    rows = np.ones(2000)
    rows[[50, 700, 701]] = np.nan
    figure = plot.scores(np.arange(2000.0), rows)
    above, below = figure.axes
    assert not above.collections
    (lines,) = below.collections
    assert [path.vertices[:, 0].tolist() for path in lines.get_paths()] == [
        [at, at] for at in (50, 700, 701)
    ]
    assert [text.get_text() for text in below.get_legend().get_texts()] == ["no score"]
    rows[900:1000] = np.nan
    above, below = plot.scores(np.arange(2000.0), rows).axes
    (hatched,) = above.collections
    assert (len(hatched.get_paths()), hatched.get_linewidth()) == (1, 0)
    assert [text.get_text() for text in below.get_legend().get_texts()] == ["no score"]


def test_several_recordings_show_the_columns_that_their_events_name():
    tables = {name: pd.DataFrame(np.zeros((40, 5)), columns=[*"abcde"]) for name in "pq"}
    scores = np.full((80, 5), 0.1)
    scores[50, 4] = 1
    events = pd.DataFrame(
        {
            "group": "p",
            "start": [3, 20],
            "end": [5, 22],
            "score": [1.0, 9.0],
            "columns": [["d", "a"], ["c", "b", "e"]],
        }
    )
    figure = plot.scores(tables, scores, 0.5, events)
    titles = [ax.get_title("left") for ax in figure.axes]
    assert titles == ["p: b", "c", "d", "score", "q: e", "score"]
    assert figure.get_supxlabel() == (
        "Of each, columns that its events name, or the one with the highest scores."
    )


def test_recordings_that_are_not_named_are_refused_and_rows_drawn_in_order():
    hours = pd.date_range("2026-01-01", periods=40, freq="h")
    table = pd.DataFrame({"t": [*hours, *hours], "m": np.repeat([*"ab"], 40), "x": 1.0})
    table["x"] = np.arange(80.0)
    for options in ({"time": "t"}, {}):
        given = table if options else table.set_index("t")
        with pytest.raises(DataError, match="time must differ within a .* 2026-01-01 .* group="):
            plot.scores(given, np.ones(80), **options)
    figure = plot.scores(table[::-1], np.ones(80), group="m", time="t")
    drawn = [figure.axes[i].lines[0].get_ydata() for i in (0, 2)]
    np.testing.assert_array_equal(drawn, [np.arange(40, 80), np.arange(40)])


def test_dates_below_scores_are_short():
    days = pd.date_range("2026-04-01", periods=400, freq="h")
    figure = plot.scores(pd.Series(np.arange(400.0), days), np.ones(400))
    pixels(figure)
    labels = figure.axes[-1].get_xticklabels()
    boxes = [label.get_window_extent() for label in labels if label.get_text()]
    assert len(boxes) > 3
    gaps = [right.x0 - left.x1 for left, right in zip(boxes, boxes[1:], strict=False)]
    assert min(gaps) > 20


def test_the_column_drawn_of_several_recordings_is_the_first_of_the_event():
    tables = {name: pd.DataFrame(np.zeros((40, 3)), columns=["a", "b", "c"]) for name in "pq"}
    scores = np.full((80, 3), 0.1)
    scores[10:30, 0], scores[20, 1] = 5, 40
    rows = Recordings.of_array(np.zeros((80, 3)))
    assert [*events_of(rows, scores, scores, 2, 2, 9)["columns"]] == [[1]]
    figure = plot.scores(tables, scores)
    assert figure.axes[0].get_title("left") == "p: b"


def test_of_many_columns_those_of_the_highest_scores_are_drawn():
    series, scores = scored(20)
    scores[50, [3, 7]] = 1000
    figure = plot.scores(series, scores)
    titles = [ax.get_title("left") for ax in figure.axes]
    assert len(titles) == 9
    assert {"3", "7"} <= set(titles)
    assert figure.get_supxlabel() == "The 8 of 20 columns with the highest scores."
    figure = plot.scores(series, scores.max(1))
    assert figure.get_supxlabel() == "The 8 of 20 columns with the largest deviations."


def test_scores_of_rows_may_lack_numbers_and_events_lie_beyond():
    series, scores = scored()
    series[:5] = scores[:5] = np.nan
    events = pd.DataFrame({"start": [-50, 120], "end": [-40, 124]})
    figure = plot.scores(series[:, 0], scores[:, 0], events=events)
    assert figure.axes[0].get_xlim()[0] > -10
    assert np.isfinite(pixels(figure)).all()


@pytest.mark.parametrize(
    ("error", "match", "change"),
    [
        (ShapeError, r"scores must be one a row, \(200,\)", {"scores": np.zeros(3)}),
        (DataError, "series must hold numbers", {"series": np.array(["a"])}),
        (ArgumentError, "time must be None for an array", {"time": "t"}),
        (ArgumentError, "events must have a start", {"events": pd.DataFrame({"a": []})}),
        (ArgumentError, "time must be a column", {"series": pd.DataFrame({"a": [1]}), "time": 1}),
        (DataError, "series must have a column of", {"series": pd.DataFrame({"a": ["b"]})}),
    ],
)
def test_scores_refuses(error, match, change):
    series, scores = scored()
    with pytest.raises(error, match=match):
        plot.scores(**({"series": series, "scores": scores} | change))


# Figures


@pytest.mark.parametrize(
    "figure",
    [
        plot.strip(FRAMES),
        plot.loss_curve(RECORDS),
        plot.activity(made_up_traces(), mark=10),
        plot.scores(np.arange(9.0), np.ones(9)),
    ],
)
def test_a_notebook_shows_a_figure(figure):
    assert figure._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("draw", "n"),
    [
        (lambda ax: plot.strip(FRAMES[:4], FRAMES[:4], FRAMES[4:], FRAMES[4:], ax=ax), 2),
        (lambda ax: plot.strip(FRAMES, ax=ax[0]), 1),
        (lambda ax: plot.scores(np.arange(9.0), np.ones(9), 0.5, ax=ax), 2),
        (lambda ax: plot.activity(made_up_traces(), mark=10, ax=ax), 6),
        (lambda ax: plot.weights(model_of((4, 5))[0], ax=ax), 4),
        (lambda ax: plot.weights(model_of((4, 5))[0], "predict", ax=ax[0]), 1),
    ],
)
def test_pictures_of_several_panels_are_drawn_on_axes_given(draw, n):
    mine = Figure(figsize=(10, 6))
    axes = mine.subplots(1, n, squeeze=False)[0]
    assert draw(axes) is mine
    assert all(ax.has_data() for ax in axes)
    pixels(mine)
    with pytest.raises(ArgumentError, match=f"ax must be one axes for each .* {n}, got {n + 1}"):
        draw([[*axes, axes[0]]] if n == 1 else [*axes, axes[0]])


def test_scores_above_the_threshold_have_its_colour():
    figure = plot.scores(np.arange(9.0), [1, 1, 4, 5, 1, 1, 1, 3, 1], 3)
    below = figure.axes[-1]
    of_threshold = [line for line in below.lines if line.get_color() == plot.FUTURE]
    (above,) = (line.get_ydata() for line in of_threshold if len(line.get_ydata()) == 9)
    assert np.flatnonzero(np.isfinite(above)).tolist() == [2, 3]


def test_matplotlib_is_not_imported_before_it_is_needed():
    code = "import sys, backcast.plot; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_matplotlib_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for draw in (
        lambda: plot.strip(FRAMES),
        lambda: plot.animate(FRAMES, FRAMES),
        lambda: plot.loss_curve(RECORDS),
        lambda: plot.weights(model_of((4, 5))[0]),
        lambda: plot.activity(made_up_traces()),
        lambda: plot.scores(np.arange(9.0), np.ones(9)),
    ):
        with pytest.raises(MissingPackageError, match=r"pip install 'backcast\[plot\]'"):
            draw()
