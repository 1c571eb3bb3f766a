"""Pictures: frames, losses, weights and gates; series with scores or forecasts; embeddings.

matplotlib draws them. It is an optional dependency, imported when the first picture is drawn. No
function touches pyplot's global state, so none opens a window or leaves a figure open.
"""

from backcast.plot._figure import FUTURE as FUTURE
from backcast.plot._figure import PAST as PAST
from backcast.plot.animation import Gif, animate
from backcast.plot.anomalies import scores
from backcast.plot.embeddings import embedding_map
from backcast.plot.filmstrip import strip
from backcast.plot.forecasts import forecast
from backcast.plot.losses import loss_curve
from backcast.plot.units import activity, weights

__all__ = [
    "Gif",
    "activity",
    "animate",
    "embedding_map",
    "forecast",
    "loss_curve",
    "scores",
    "strip",
    "weights",
]


def __dir__() -> list[str]:
    """List the public names, for completion."""
    return [*__all__, "FUTURE", "PAST"]
