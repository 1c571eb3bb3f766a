"""Figures of a size in pixels, which pyplot does not know."""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from backcast.errors import ArgumentError, MissingPackageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 100
# Each has its colour in all pictures.
PAST, FUTURE = "#1f77b4", "#d95f02"
# What is neither; legible on white and on black.
NEUTRAL = "0.5"


def require_matplotlib() -> None:
    """Raise an error that names the extra, unless matplotlib is installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(
            "backcast.plot needs matplotlib: pip install 'backcast[plot]'"
        ) from error


@functools.cache
def figure_class() -> type[Figure]:
    """Return a class of figures that a notebook shows even if nothing has imported pyplot."""
    from matplotlib.figure import Figure

    class NotebookFigure(Figure):
        """A figure that a notebook shows even if nothing has imported pyplot."""

        def _repr_png_(self) -> bytes:
            return _png(self)

    return NotebookFigure


@functools.cache
def axes_class() -> type[Axes]:
    """Return a class of axes that a notebook shows with their figure."""
    from matplotlib.axes import Axes

    class NotebookAxes(Axes):
        """Axes that a notebook shows with their figure."""

        def _repr_png_(self) -> bytes:
            return _png(figure_with(self))

    return NotebookAxes


def _png(figure: Figure) -> bytes:
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return png.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """Return a figure of `width` x `height` pixels, unknown to pyplot."""
    require_matplotlib()
    return figure_class()(figsize=(round(width) / DPI, round(height) / DPI), dpi=DPI)


def axes_of(ax: Axes | None, width: float, height: float) -> Axes:
    """Return the user's axes; without any, those of a new figure."""
    if ax is not None:
        return ax
    figure = new_figure(width, height)
    figure.set_layout_engine("constrained")
    return figure.add_subplot(axes_class=axes_class())


def figure_with(ax: Axes) -> Figure:
    """Return the whole figure of these axes."""
    return cast("Figure", ax.get_figure(root=True))


def note(figure: Figure, text: str) -> None:
    """Write at the lower right what a figure leaves out."""
    figure.supxlabel(text, x=0.99, ha="right", fontsize=9)


def panels_of(
    ax: Axes | Sequence[Axes] | None, names: Sequence[Any], what: str
) -> list[Axes] | None:
    """Return the user's axes, one for each of these panels; None if there are none."""
    if ax is None:
        return None
    given: list[Axes] = np.array(ax, dtype=object).ravel().tolist()
    if len(given) != len(names):
        listed = ", ".join(map(str, names))
        raise ArgumentError(
            f"ax must be one axes for each {what} ({listed}), {len(names)}, got {len(given)}"
        )
    return given
