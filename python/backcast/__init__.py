"""The composite LSTM autoencoder: reconstruct the past, predict the future, on NumPy arrays.

`Model` is the model of Srivastava, Mansimov and Salakhutdinov, "Unsupervised Learning of Video
Representations using LSTMs" (ICML 2015, arXiv 1502.04681). `Classifier` starts from its encoder,
`AnomalyDetector` scores the rows of a series by the errors of a model, `Forecaster` forecasts
tables with a model and intervals, `forecast_errors` measures forecasts, and `Embedder` makes
embeddings of whole sequences. `suggest` looks at a table and says which parameters fit it.
`backcast.data` makes moving digits and windows, `backcast.plot` draws, and `backcast.errors` has
the exceptions.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from backcast import _libtorch

_libtorch.load()

from backcast import errors  # noqa: E402
from backcast._suggest import suggest  # noqa: E402
from backcast.anomaly import AnomalyDetector  # noqa: E402
from backcast.classifier import Classifier  # noqa: E402
from backcast.embedding import Embedder  # noqa: E402
from backcast.forecast import Forecaster, forecast_errors  # noqa: E402
from backcast.model import Model  # noqa: E402

if TYPE_CHECKING:
    from backcast import data, plot

__all__ = [
    "AnomalyDetector",
    "Classifier",
    "Embedder",
    "Forecaster",
    "Model",
    "data",
    "errors",
    "forecast_errors",
    "plot",
    "suggest",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import `data` and `plot` when they are first used."""
    if name in ("data", "plot"):
        return import_module(f"backcast.{name}")
    raise AttributeError(f"module 'backcast' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names, for completion."""
    return [*__all__, "__version__"]
