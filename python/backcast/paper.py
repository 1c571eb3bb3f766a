"""The paper's table: another name of `backcast.experiments.paper`."""

from backcast.experiments.paper import FEED, MODELS, NOTE, SIZES, Row, Size, run, table

__all__ = ["FEED", "MODELS", "NOTE", "SIZES", "Row", "Size", "run", "table"]
