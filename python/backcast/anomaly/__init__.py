"""Anomalies in series: rows that a model can neither reconstruct nor predict."""

from backcast.anomaly._scoring import SCORES
from backcast.anomaly._stream import Stream as _Stream  # noqa: F401 - old pickles name it
from backcast.anomaly.detector import AnomalyDetector

__all__ = ["SCORES", "AnomalyDetector"]


def __dir__() -> list[str]:
    """List the public names, for completion."""
    return [*__all__]
