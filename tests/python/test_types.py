"""A type checker accepts a user's code, and knows what comes back."""

from __future__ import annotations

from pathlib import Path

import pytest
from mypy import api

USER = """
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from backcast import AnomalyDetector, Classifier, Forecaster, Model, forecast_errors, plot
from backcast.data import Windows, digits, moving_digits, video, windows
from backcast.errors import BackcastError, TrainingWarning


def stop(model: Model, record: dict[str, float]) -> bool:
    return record["loss"] < 0.1


images, labels, source = digits()
frames, shown = moving_digits(100, images, labels, num_digits=1, random_state=0)
model = Model(hidden_size=16, feedback={"predict": "none"}, scale="standard", patience=3)
model.fit(frames, validation=0.1, callback=stop, checkpoint=Path("run")).partial_fit(frames)
embedding: NDArray[np.float32] = model.encode(frames, state="full")
predicted: NDArray[np.float32] = model.predict(frames[:, :10], steps=30)
one_by_one: list[NDArray[np.float32]] = model.reconstruct([frames[0], frames[1, :5]])
loss: float = model.losses(frames, per="frame")["predict"] + model.score(frames)
classifier = Classifier(model, train="head").fit(frames, shown[:, 0], validation=(frames, shown))
likely: NDArray[np.float32] = classifier.predict_proba(frames)
cut: NDArray[np.float64] = windows(np.zeros(9), past=3)
of_table: Windows = windows(pd.DataFrame({"x": [1.0, 2.0]}), past=1, time="x", gap=3)
table: pd.DataFrame = model.predict(of_table.last)
again: pd.DataFrame = of_table.past.table(model.reconstruct(np.asarray(of_table.past)))
detector = AnomalyDetector({"max_iter": 9}, time="t").fit(table, validation=table)
by_column: pd.DataFrame = detector.scores(table)
of_array: NDArray[np.float64] = detector.scores(np.zeros(9))
outliers: NDArray[np.int64] = detector.predict(table)
events: pd.DataFrame = detector.events(table)
live: pd.DataFrame = detector.update(table[-1:])
forecaster = Forecaster(4, 2, {"max_iter": 9}, time="t").fit(table, validation=table)
to_come: pd.DataFrame = forecaster.predict(table, interval=[0.8, 0.9])
as_array: NDArray[np.float64] = forecaster.predict(np.zeros(9))
backtest: pd.DataFrame = forecast_errors(forecaster, table, stride=2, interval=0.9)
plot.forecast(table, to_come).savefig("forecast.png")
plot.scores(table, by_column, detector.threshold_, events, time="t").savefig("scores.png")
plot.loss_curve(model).savefig("loss.png")
errors: pd.DataFrame = forecast_errors(model, of_table, season=1, per="column")
plot.forecast(of_table.last, table, errors).savefig("forecast.png")
plot.embedding_map(embedding, shown[:, 0]).savefig("map.png")
for batch in video("film.mp4", 32, crops=4):
    model.partial_fit(batch)
try:
    Model.load("model.safetensors", device="cpu").save("copy.safetensors", training=True)
except BackcastError as error:
    print(error, TrainingWarning)
"""

WRONG = """
from backcast import Model

model = Model(hidden_size="large")
model.encode([], state="some")
length: int = model.predict([])
"""


def test_a_type_checker_accepts_a_users_code(tmp_path: Path) -> None:
    user = tmp_path / "user.py"
    user.write_text(USER)
    told, trouble, status = api.run(["--strict", str(user)])
    assert (trouble, status) == ("", 0), told


@pytest.mark.parametrize("line", [4, 5, 6])
def test_a_type_checker_finds_what_is_wrong(line: int, tmp_path: Path) -> None:
    user = tmp_path / "user.py"
    user.write_text(WRONG)
    told, _, status = api.run(["--strict", str(user)])
    assert status == 1
    assert f"user.py:{line}: error" in told
