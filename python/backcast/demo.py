"""The demonstration: another name of `backcast.experiments.demo`."""

from backcast.experiments.demo import ONE_DIGIT, QUICK, TWO_DIGITS, Settings, run

__all__ = ["ONE_DIGIT", "QUICK", "TWO_DIGITS", "Settings", "run"]
