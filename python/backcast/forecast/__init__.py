"""Forecasts of tables and series: the forecaster, and the errors of forecasts by step."""

from backcast.forecast.errors import forecast_errors
from backcast.forecast.forecaster import Forecaster

__all__ = ["Forecaster", "forecast_errors"]


def __dir__() -> list[str]:
    """List the public names, for completion."""
    return [*__all__]
