"""The paper's table of future predictors, one model at a time: train, test, compare.

``python -m backcast paper`` calls `run`; a program may call it too. Measured numbers and those that
the paper reports are always separate; the latter are quoted from memory, not checked against its
PDF.
"""

from backcast.experiments.paper.models import FEED, MODELS, NOTE, SIZES, Row, Size
from backcast.experiments.paper.rows import run
from backcast.experiments.paper.tables import table

__all__ = ["FEED", "MODELS", "NOTE", "SIZES", "Row", "Size", "run", "table"]
