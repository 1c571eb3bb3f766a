"""The exceptions of backcast: one class for each remedy.

Every class is a `BackcastError` and also the built-in (or scikit-learn) exception that a caller
who does not know backcast would expect, so that ``except ValueError`` keeps working.
"""

import sklearn.exceptions

from backcast._brief import brief, rendered


class BackcastError(Exception):
    """Anything that backcast itself raises."""

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython shows."""
        return brief(self)


class ArgumentError(BackcastError, ValueError):
    """A parameter or an argument is out of its range."""


class ShapeError(BackcastError, ValueError):
    """An array has the wrong rank or shape."""


class DataError(BackcastError, ValueError):
    """An array holds values that cannot be used: NaN, infinite, out of range, or none at all."""


class NotFittedError(BackcastError, sklearn.exceptions.NotFittedError):
    """The model has not been fitted yet."""


class DecoderError(BackcastError, ValueError):
    """The model has no such decoder."""


class DeviceError(BackcastError, RuntimeError):
    """The device is unknown or not available."""


class FileFormatError(BackcastError, ValueError):
    """A file is corrupt, truncated, or of another format."""


class DivergedError(BackcastError, ArithmeticError):
    """The loss stopped being finite."""


class BusyError(BackcastError, RuntimeError):
    """The model is in use by another thread."""


class GroupError(BackcastError, RuntimeError):
    """Another process of the group failed or is gone."""


class OutOfMemoryError(BackcastError, MemoryError):
    """The device does not have enough free memory."""


class TrainingWarning(UserWarning):
    """A training, or the use of its result, looks wrong; the message says what may help."""


class MissingPackageError(BackcastError, ImportError):
    """An optional package or program is not installed."""


class InternalError(BackcastError, RuntimeError):
    """A bug of backcast: please report it."""

    def _render_traceback_(self) -> list[str]:
        return rendered(self, self.__traceback__)
