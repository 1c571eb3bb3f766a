"""Figures of a size in pixels, which pyplot does not know."""

from __future__ import annotations

import functools
import io
from typing import TYPE_CHECKING, cast

from backcast.errors import MissingPackageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 100
# Each has its colour in all pictures.
PAST, FUTURE = "#1f77b4", "#d95f02"


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
            png = io.BytesIO()
            self.savefig(png, format="png")
            return png.getvalue()

    return NotebookFigure


def new_figure(width: float, height: float) -> Figure:
    """Return a figure of `width` x `height` pixels, unknown to pyplot."""
    require_matplotlib()
    return figure_class()(figsize=(round(width) / DPI, round(height) / DPI), dpi=DPI)


def figure_of(ax: Axes | None, width: float, height: float) -> tuple[Figure, Axes]:
    """Return the figure of the user's axes and these; without any, a new figure with one."""
    if ax is not None:
        return cast("Figure", ax.get_figure(root=True)), ax
    figure = new_figure(width, height)
    figure.set_layout_engine("constrained")
    return figure, figure.add_subplot()
