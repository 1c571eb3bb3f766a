"""The detector's default on published series, from a folder that the user names.

The folder holds archives by set (`nab.npz`, `smap_msl.npz`, `ucr135.npz`, `skab.npz`); each has
rows ``NAME|x`` and labels ``NAME|y``, and ``tr_N`` in a name is the number of rows to train on
(SKAB: 400). As TSB-AD does it, a detector is fitted on the first rows and scores all of them; of
SKAB, the rows after the first 400 count, those of all files together.

Beside each result stands that of the same detector with untrained weights: what does not beat it
is not learnt.
"""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vus import buffer_of, vus_pr

Array = NDArray[Any]

SETS = ("nab", "smap_msl", "ucr135", "skab")
# NAB's series 015 matches three of its files in TSB-AD's list; the first one is TSB-AD's.
_LEFT_OUT = ("#1", "#2")
_SKAB_ROWS = 400


def read(folder: Path, name: str) -> Iterator[tuple[str, Array, Array, int]]:
    """Yield name, rows (n, D), labels (n) and the number of rows to train on, of each series."""
    archive = np.load(folder / f"{name}.npz")
    for key in sorted(key[:-2] for key in archive.files if key.endswith("|y")):
        if key.endswith(_LEFT_OUT):
            continue
        rows = np.asarray(archive[f"{key}|x"], float)
        train = re.search(r"_tr_(\d+)", key)
        n = int(train.group(1)) if train else _SKAB_ROWS
        yield key, rows.reshape(len(rows), -1), archive[f"{key}|y"] > 0, n


def measure(folder: Path, sets: list[str], seeds: int) -> Iterator[dict[str, Any]]:
    """Yield a record for each seed, series and detector, trained and untrained."""
    for seed in range(seeds):
        for name in sets:
            for key, rows, labels, n in read(folder, name):
                for trained in (False, True):
                    yield {"set": name, "series": key, "seed": seed, "trained": trained} | once(
                        rows, labels, n, seed, trained, vus=name != "skab"
                    )


def once(rows: Array, labels: Array, n: int, seed: int, trained: bool, vus: bool) -> dict[str, Any]:
    """Fit on the first n rows, score all, and measure."""
    from sklearn.metrics import average_precision_score

    from backcast import AnomalyDetector

    model = {"random_state": seed, "device": "cpu", "num_threads": 1, "verbose": 0}
    if not trained:
        model |= {"max_iter": 1, "learning_rate": 1e-9}
    detector = AnomalyDetector(model)
    begun = time.process_time()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        detector.fit(rows[:n])
    fitted = time.process_time()
    scores = -detector.score_samples(rows)
    scored = time.process_time()
    found: dict[str, Any] = {
        "past": detector.past_,
        "center": detector.center_,
        "updates": detector.model_.n_iter_,
        "baselines": detector.baselines_,
        "warned": [str(warning.message)[:60] for warning in warned],
        "fit": fitted - begun,
        "score": scored - fitted,
    }
    scores = np.nan_to_num(scores, nan=0.0, posinf=1e30)
    if vus:
        return found | {"vus_pr": vus_pr(labels, scores, buffer_of(rows))}
    alarms, true = scores[n:] > -detector.offset_, labels[n:]
    return found | {
        "average_precision": float(average_precision_score(true, scores[n:])),
        "hits": int((alarms & true).sum()),
        "false": int((alarms & ~true).sum()),
        "anomalous": int(true.sum()),
        "normal": int((~true).sum()),
    }


def summary(records: list[dict[str, Any]]) -> list[list[str]]:
    """Return rows of a table, whose columns `HEADER` names."""
    table = []
    for name in SETS:
        own = [record for record in records if record["set"] == name]
        trained = [record for record in own if record["trained"]]
        untrained = [record for record in own if not record["trained"]]
        if not trained or not untrained:
            continue
        head = [name, f"{len({r['series'] for r in trained})}", f"{len({r['seed'] for r in own})}"]
        tail = [f"{_mean(trained, 'center'):.0%}", f"{_mean(trained, 'fit'):.1f}"]
        measures = SKAB_MEASURES if name == "skab" else {"VUS-PR": lambda r: _mean(r, "vus_pr")}
        table += [
            [*head, label, f"{of(trained):.3f}", f"{of(untrained):.3f}", *tail]
            for label, of in measures.items()
        ]
    return table


def _mean(records: list[dict[str, Any]], key: str) -> float:
    return float(np.mean([record[key] for record in records]))


def _sum(records: list[dict[str, Any]], key: str) -> int:
    return sum(record[key] for record in records)


SKAB_MEASURES = {
    "F1": lambda r: (
        2 * _sum(r, "hits") / (_sum(r, "hits") + _sum(r, "false") + _sum(r, "anomalous"))
    ),
    "false alarms": lambda r: _sum(r, "false") / _sum(r, "normal"),
    "average precision": lambda r: _mean(r, "average_precision"),
}
HEADER = [
    *("set", "series", "seeds", "measure", "`AnomalyDetector()`", "untrained"),
    *("centred", "fit, CPU s"),
]
