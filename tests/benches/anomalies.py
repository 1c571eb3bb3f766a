"""Anomaly detection on labelled series: how well rows are ranked, and in what time.

Two measures, neither with points adjusted: average precision over rows, and VUS-PR (Paparrizos et
al., VLDB 2022; aeon's), which also gives rows near an anomaly a part of the credit, averaged over
buffers of 0 to 60 rows. VUS-PR takes its thresholds at 250 of the rows, so that even the labels
themselves may come to less than 1.
"""

from __future__ import annotations

import time
import warnings
from typing import Any

from detectors import CONTESTANTS, LENGTH, Contestant
from labelled import Series, load

BUFFER = LENGTH


def measure(seeds: int) -> dict[str, Any]:
    """Both measures and seconds, by contestant and series; without contestants that are missing."""
    series = load()
    rows = {}
    for contestant in CONTESTANTS:
        try:
            contestant.make(0)
        except ImportError:
            rows[contestant.name] = None
            continue
        rows[contestant.name] = {one.name: by_seed(contestant, one, seeds) for one in series}
    about = {
        one.name: {
            "train": len(one.train),
            "test": len(one.test),
            "labelled": int(one.labels.sum()),
        }
        for one in series
    }
    return {"series": about, "contestants": rows}


def by_seed(contestant: Contestant, series: Series, seeds: int) -> list[dict[str, float]]:
    """Fit, score and measure; once a seed, where seeds make a difference."""
    return [once(contestant, series, seed) for seed in range(seeds if contestant.random else 1)]


def once(contestant: Contestant, series: Series, seed: int) -> dict[str, float]:
    """Fit, score and measure."""
    from aeon.benchmarking.metrics.anomaly_detection import range_pr_vus_score
    from sklearn.metrics import average_precision_score

    mean, deviation = series.train.mean(axis=0), series.train.std(axis=0)
    train, test = (series.train - mean) / deviation, (series.test - mean) / deviation
    detector = contestant.make(seed)
    begun = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        detector.fit(train)
        fitted = time.perf_counter()
        scores = detector.score(test)
    scored = time.perf_counter()
    return {
        "average_precision": float(average_precision_score(series.labels, scores)),
        "vus_pr": float(range_pr_vus_score(series.labels.astype(int), scores, BUFFER)),
        "fit": fitted - begun,
        "score": scored - fitted,
    }
