"""Which rows have no score, why, and what to do."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backcast.anomaly._scoring import Numbers
from backcast.data._clock import describe
from backcast.data._recordings import Recordings


def advice(
    rows: Recordings,
    scores: Numbers,
    before: NDArray[np.bool_],
    lengths: tuple[int, int],
    *,
    past_too: bool,
) -> str:
    """Return which rows that hold numbers have no score, and why; empty if all have one.

    Parameters
    ----------
    rows : Recordings
        The rows.
    scores : ndarray of shape (n_rows, n_columns)
        Their scores.
    before : ndarray of bool, of shape (n_rows,)
        Which rows are context, which is not scored.
    lengths : tuple of int
        Rows of past and future in a window.
    past_too : bool
        Whether the rows of past are scored too, which a model that only predicts does not do.
    """
    if before.all():
        return ""
    if np.isnan(scores[~before]).all():
        why = _why_none(rows, before, sum(lengths))
        return f"no row of series has a score, and all count as inliers: {why}"
    length, sizes = sum(lengths), rows.ends - rows.begins
    run = np.repeat(np.arange(len(sizes)), sizes)
    ends = np.isin(rows.ends - 1, rows.last_rows)
    alone = (ends & np.append(True, ends[:-1]))[run]
    short = (sizes < length)[run]
    without = np.isnan(scores).all(1) & ~np.isnan(rows.values).all(1) & ~before
    if not past_too:
        # A model that only predicts does not score its first past.
        without &= short | (np.arange(len(run)) - rows.begins[run] >= lengths[0])
    if not without.any():
        return ""
    window = f"a window, past_ + future_ = {length}"
    reasons = (
        (
            short & alone,
            f"a recording has fewer rows than {window}. Give the rows before "
            "them too, scores(series, context=rows_before)",
        ),
        (
            short & ~alone,
            f"between gaps, steps of more than {rows.longest_step}, they are fewer than {window}. "
            f"{rows.bridging}",
        ),
        (~short, f"the past_ = {lengths[0]} rows before them hold no number"),
    )
    told = [
        f"{_where(rows, without & these)}: {why}."
        for these, why in reasons
        if (without & these).any()
    ]
    n = f"{without.sum():,} of {(~before).sum():,} rows"
    return f"{n} have no score and count as inliers. {' '.join(told)}".removesuffix(".")


def _where(rows: Recordings, these: NDArray[np.bool_]) -> str:
    """Return how many rows these are, and the first stretch of them."""
    at = np.flatnonzero(these)
    new, groups = np.diff(at) > 1, rows.row_groups
    if groups is not None:
        new |= groups[at[1:]] != groups[at[:-1]]
    stretches = np.split(at, np.flatnonzero(new) + 1)
    first, last = (rows.row_labels[i] for i in stretches[0][[0, -1]])
    where = f"at {first}" if len(stretches[0]) == 1 else f"from {first} to {last}"
    of = ""
    if groups is not None:
        where += f" of {groups[at[0]]!r}"
        of = f" of {len(set(groups[at]))} recordings"
    n = f"{len(at):,} row{'s' * (len(at) > 1)}"
    return (
        f"{n} {where}"
        if len(stretches) == 1
        else f"{n}, in {len(stretches)} stretches{of}, the first {where}"
    )


def _why_none(rows: Recordings, before: NDArray[np.bool_], length: int) -> str:
    """Say why no row has a score, and what to do."""
    n = int((~before).sum())
    longest = np.diff(rows.last_rows, prepend=-1).max()
    if (rows.ends - rows.begins).max() >= length:
        return "no window holds a number"
    if rows.timed and rows.gap is not None and longest >= length:
        return f"a step of more than {describe(rows.gap)} is a gap, as in fit"
    have = f"has {n}" if len(before) == n else f"has {n} and context {len(before) - n}"
    each = "" if rows.row_groups is None else " of each recording"
    return (
        f"scores come from windows of {length} rows{each}, past_ + future_, and series "
        f"{have}. Give the {length - 1} rows{each} before it too, "
        "scores(series, context=rows_before), or give all rows in turn to update"
    )
