"""Embeddings as points of a plane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backcast.errors import DataError, ShapeError
from backcast.plot._dates import date_axis, date_numbers
from backcast.plot._figure import PAST, axes_of, figure_with

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def embedding_map(
    embeddings: ArrayLike, labels: ArrayLike | None = None, *, ax: Axes | None = None
) -> Axes:
    """Draw embeddings as points in a plane, coloured by their labels.

    Parameters
    ----------
    embeddings : array_like of shape (n, D)
        One row for each embedding, as `Model.encode` returns them, or points of two dimensions.
        If there are more than two dimensions, the first two principal components are drawn.
    labels : array_like of shape (n,), default=None
        Label of each row: words or whole numbers of at most 20 kinds, shown in a legend; or
        numbers or dates, shown by a colour bar. Points with a missing label are grey.
    ax : matplotlib.axes.Axes, default=None
        Axes to draw on, instead of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        `ax`, or the axes of the new figure, which a notebook shows and
        ``.figure.savefig("map.png")`` writes. They are labelled with the variance that each
        component explains.

    Raises
    ------
    ShapeError
        If `embeddings` are not rows of at least two numbers, or there is not one label for each.
    DataError
        If `embeddings` are not finite, or `labels` are words of more than 20 kinds.
    MissingPackageError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from backcast.plot import embedding_map
    >>> rows = np.random.default_rng(0).normal(size=(100, 8))
    >>> ax = embedding_map(rows, np.where(rows[:, 0] > 0, "right", "left"))
    """
    points = np.asarray(embeddings)
    if points.ndim != 2 or points.shape[1] < 2 or len(points) < 2:
        raise ShapeError(
            f"embeddings must be of shape (n, D), n and D at least 2, got {points.shape}"
        )
    if points.dtype.kind not in "buif" or not np.isfinite(points).all():
        raise DataError("embeddings must be finite numbers, got others")
    names = ["dimension 1", "dimension 2"]
    if points.shape[1] > 2:
        from sklearn.decomposition import PCA

        pca = PCA(2, svd_solver="full").fit(points)
        points = pca.transform(points)
        parts = pca.explained_variance_ratio_
        names = [f"component {i} ({part:.0%} of variance)" for i, part in enumerate(parts, 1)]
    ax = axes_of(ax, 720, 520)
    style = {"s": np.clip(4000 / len(points), 8, 36), "linewidths": 0, "alpha": 0.8}

    if labels is None:
        ax.scatter(points[:, 0], points[:, 1], color=PAST, **style)
    else:
        _draw_labelled(ax, points, np.asarray(labels), style)
    ax.set(xlabel=names[0], ylabel=names[1])
    ax.set_aspect("equal", adjustable="datalim")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _draw_labelled(
    ax: Axes, points: NDArray[Any], labels: NDArray[Any], style: dict[str, Any]
) -> None:
    """Draw points in the colours of their labels, with a legend or a colour bar."""
    from matplotlib import colormaps

    if labels.shape != points.shape[:1]:
        raise ShapeError(
            f"labels must be one for each of {len(points)} embeddings, got shape {labels.shape}"
        )
    if labels.dtype == object:
        missing = np.isin(labels.astype(str), ["None", "nan", "NaT", "<NA>"])
    else:
        missing = labels != labels
    if missing.any():
        grey = points[missing]
        ax.scatter(grey[:, 0], grey[:, 1], color="0.7", label="unknown", **style)
    points, known = points[~missing], labels[~missing]
    if known.dtype.kind == "f" and (np.abs(known) < 2**53).all() and (known % 1 == 0).all():
        # Whole numbers became floats because some were missing.
        known = known.astype(np.int64)
    kinds, kind = np.unique(
        known.astype(str) if known.dtype == object else known, return_inverse=True
    )
    if known.dtype.kind in "fM" or (known.dtype.kind in "iu" and len(kinds) > 20):
        numbers = date_numbers(known) if known.dtype.kind == "M" else known
        drawn = ax.scatter(points[:, 0], points[:, 1], c=numbers, cmap="viridis", **style)
        bar = figure_with(ax).colorbar(drawn, ax=ax)
        if known.dtype.kind == "M":
            date_axis(bar.ax.yaxis)
        return
    if len(kinds) > 20:
        raise DataError(f"labels must be numbers, or words of at most 20 kinds, got {len(kinds)}")
    colours = colormaps["tab10" if len(kinds) <= 10 else "tab20"]
    for i, name in enumerate(kinds):
        own = points[kind == i]
        ax.scatter(own[:, 0], own[:, 1], color=colours(i), label=str(name), **style)
    legend = ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    for handle in cast("list[Any]", legend.legend_handles):
        handle.set(sizes=[36], alpha=1)
