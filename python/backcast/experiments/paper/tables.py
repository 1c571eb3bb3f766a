"""Tables of all models in a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from backcast.experiments.paper._files import read
from backcast.experiments.paper._sources import AnyPath
from backcast.experiments.paper.models import MODELS, NOTE


def table(out: AnyPath) -> str:
    """Return tables of all models found in a folder, one for each test set.

    Parameters
    ----------
    out : str or path-like
        The folder that was given to `run`.

    Returns
    -------
    str
        Markdown. The numbers that the paper reports have a column of their own, which only tables
        of the paper's size have.

    Raises
    ------
    FileFormatError
        If a ``results.json`` was not written by `run`.
    """
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for model in MODELS:
        file = Path(out) / model / "results.json"
        if file.exists():
            results = read(file)
            key = (results["on"], results["size"], results["test_set"])
            groups.setdefault(key, []).append(results)
    return "\n".join(_group(*key, rows) for key, rows in groups.items())


def _group(on: str, size: str, test_set: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the tables of one test set."""
    kinds = {"cross_entropy": "nats", "squared_error": "squared error"}
    kinds = {kind: unit for kind, unit in kinds.items() if kind in rows[0]["measured"]}
    columns = {
        f"{side}, {unit}": (kind, name)
        for kind, unit in kinds.items()
        for side, name in (("future", "predict"), ("past", "reconstruct"))
    }
    first = next(iter(columns))
    reported = any(row["as_reported"] for row in rows)
    head = ["measured here", *columns, "updates", "seconds"]
    head += [f"as reported: {first}"] if reported else []
    lines = []
    for row in rows:
        errors = [row["measured"][kind].get(name) for kind, name in columns.values()]
        line = [row["title"], *map(_figure, errors)]
        line += [f"{row['updates']:,}", f"{row['seconds']:,.0f}"]
        line += [_figure((row["as_reported"] or {}).get("predict"), 1)] if reported else []
        lines.append(line)
    note = (
        f"Sums over a frame, means over frames and windows. Test set: {test_set}. A future that is "
        f"the last frame held still has a squared error of {rows[0]['last_frame']:.2f}."
    )
    if reported:
        note += f"\nThe last column is {NOTE}."
    if reported and on == "patches":
        note += (
            "\nSquared errors are not halved here; the authors' program reports halves, and of "
            "other videos: the columns do not compare."
        )
    parts = [f"## {on.capitalize()}, {size} size", _markdown(head, lines), note]
    other = [row for row in rows if "out_of_domain" in row]
    if other:
        kind, name = columns[first]
        lines = [
            [row["title"], *(_figure(e[kind][name]) for e in row["out_of_domain"].values())]
            for row in other
        ]
        head = [
            f"{first}, of",
            *("1 digit" if k == "1" else f"{k} digits" for k in other[0]["out_of_domain"]),
        ]
        parts += ["Out of domain: trained on two digits, tested on", _markdown(head, lines)]
        shown = [1, 5, 10, 20, 50, 100]
        lines = [
            [row["title"], *(_figure(row["longer"]["squared_error_by_step"][t - 1]) for t in shown)]
            for row in other
        ]
        head = ["squared error of step", *map(str, shown)]
        n = other[0]["longer"]["windows"]
        note = f"Longer than trained, from {rows[0]['plan']['past']} frames, on {n} windows:"
        parts += [note, _markdown(head, lines)]
    return "\n\n".join(parts) + "\n"


def _figure(error: float | None, digits: int = 2) -> str:
    return "" if error is None else f"{error:.{digits}f}"


def _markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))
