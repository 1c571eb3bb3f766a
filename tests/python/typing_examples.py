"""What a type checker knows about results: mypy checks this file, and nothing runs it."""

from collections.abc import Generator
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import pandas as pd
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from backcast import AnomalyDetector, Classifier, Forecaster, Model, forecast_errors, plot
from backcast.data import Windows, digits, moving_digits, video, windows
from backcast.errors import BackcastError, TrainingWarning


def stop(model: Model, record: dict[str, float]) -> bool:
    return record["loss"] < 0.1


# Arrays in, arrays out.
images, labels, source = digits()
frames, shown = moving_digits(100, images, labels, num_digits=1, random_state=0)
model = Model(hidden_size=16, feedback={"predict": "none"}, scale="standard", patience=3)
model.fit(frames, validation=0.1, callback=stop, checkpoint=Path("run")).partial_fit(frames)
assert_type(windows(np.zeros(9), past=3), NDArray[Any])
assert_type(windows([1.0, 2.0, 3.0], past=3), NDArray[Any])
assert_type(model.encode(frames), NDArray[np.float32])
assert_type(model.encode(frames, state="full"), NDArray[np.float32])
assert_type(model.predict(frames[:, :10], steps=30), NDArray[Any])
assert_type(model.reconstruct(frames), NDArray[Any])
assert_type(model.reconstruct([np.zeros((4, 2)), np.zeros((5, 2))]), list[NDArray[Any]])
assert_type(model.losses(frames, per="frame"), dict[str, float])
assert_type(model.losses(frames, per="window"), dict[str, NDArray[np.float32]])
assert_type(model.score(frames), float)
classifier = Classifier(model, train="head").fit(frames, shown[:, 0], validation=(frames, shown))
assert_type(classifier.predict_proba(frames), NDArray[np.float32])
assert_type(classifier.predict(frames), NDArray[Any])

# Tables in, tables out.
table = pd.DataFrame({"t": [1, 2], "x": [1.0, 2.0]})
of_table = windows(table, past=1, time="t", gap=3)
assert_type(model.losses(of_table, per="window"), pd.DataFrame)
assert_type(of_table, Windows)
series = pd.Series([1.0, 2.0])
assert_type(windows(series, past=1), Windows)
assert_type(windows(pl.DataFrame({"x": [1.0]}), past=1), Windows)
assert_type(model.encode(of_table), pd.DataFrame)
assert_type(model.encode(of_table, state="full"), NDArray[np.float32])
assert_type(model.reconstruct(of_table.past), pd.DataFrame)
assert_type(model.predict(of_table.last), pd.DataFrame)
assert_type(model.predict([table, table]), list[pd.DataFrame])
assert_type(classifier.predict(of_table), "pd.Series[Any]")
assert_type(of_table.table(np.zeros((1, 1, 1))), pd.DataFrame)

detector = AnomalyDetector({"max_iter": 9}, time="t").fit(table, validation=table)
assert_type(detector.threshold_, float)
detector.threshold_ = 4
assert_type(detector.scores(table), pd.DataFrame)
assert_type(detector.scores(series, context=series), pd.DataFrame)
assert_type(detector.scores(pl.DataFrame({"x": [1.0]})), pd.DataFrame)
assert_type(detector.scores(np.zeros(9)), NDArray[np.float64])
assert_type(detector.scores([1.0, 2.0]), NDArray[np.float64])
assert_type(detector.score_samples(table), "pd.Series[float]")
assert_type(detector.predict(table), "pd.Series[int]")
assert_type(detector.predict(np.zeros(9)), NDArray[np.int64])
assert_type(detector.events(np.zeros(9)), pd.DataFrame)
assert_type(detector.update({"t": 3, "x": 1.0}), pd.DataFrame)

forecaster = Forecaster(4, 2, {"max_iter": 9}, time="t").fit(table, validation=table)
assert_type(forecaster.predict(table, interval=[0.8, 0.9]), pd.DataFrame)
assert_type(forecaster.predict(np.zeros(9)), NDArray[np.float64])
assert_type(forecast_errors(forecaster, table, stride=2, interval=0.9), pd.DataFrame)
errors = forecast_errors(model, of_table, season=1, per="column")

# Pictures: axes of one panel, a figure of several, and files of animations.
assert_type(plot.loss_curve(model), Axes)
assert_type(plot.embedding_map(model.encode(of_table), shown[:, 0]), Axes)
assert_type(plot.forecast(of_table.last, table, errors), Figure)
assert_type(plot.scores(table, detector.scores(table), detector.threshold_, time="t"), Figure)
assert_type(plot.strip(frames[0]), Figure)
assert_type(plot.animate(frames[0], frames[0]), plot.Gif)
assert_type(plot.animate(frames[0], frames[0], "a.gif"), Path)

batches: Generator[NDArray[np.uint8], None, None] = video("film.mp4", 32, crops=4)
for batch in batches:
    model.partial_fit(batch)
try:
    Model.load("model.safetensors", device="cpu").save("copy.safetensors", training=True)
except BackcastError as error:
    print(error, TrainingWarning)
