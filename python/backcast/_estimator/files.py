"""Model files: safetensors with the weights, all parameters and the rest of the fitted record."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from backcast._estimator import safetensors
from backcast._estimator.fitted import Fitted, check_items
from backcast._estimator.safetensors import Arrays
from backcast._estimator.whole import replacing
from backcast._regular import open_regular
from backcast.errors import ArgumentError, FileFormatError, OutOfMemoryError

_FORMAT_VERSION = 1

# Estimators around a model, and the item of its file that holds what they have learnt.
_SECTIONS = {"AnomalyDetector": "detector", "Forecaster": "forecaster", "Embedder": "embedder"}

Shapes = dict[str, list[int]]


@dataclass(frozen=True)
class Contents:
    """The contents of a file."""

    # Parameters of the estimator; JSON turns tuples into lists.
    parameters: dict[str, Any]
    # The fitted record without the weights.
    fitted: dict[str, Any]
    weights: Arrays
    # The optimizer's moments, if the training was saved.
    first: Arrays
    second: Arrays
    # The best weights so far, in a checkpoint of a training with patience.
    best: Arrays


def write(
    path: str | os.PathLike[str],
    estimator: str,
    parameters: Mapping[str, Any],
    fitted: Fitted,
    *,
    training: bool = False,
    best: Mapping[str, NDArray[np.float32]] | None = None,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Write a file, completely or not at all.

    Parameters
    ----------
    path : str or path-like
        The file.
    estimator : str
        Name of the class.
    parameters : mapping
        Parameters of an equal estimator.
    fitted : Fitted
        The fitted record.
    training : bool, default=False
        Whether to write the optimizer's moments and the position in the data.
    best : mapping, default=None
        The best weights so far.
    more : mapping, default=None
        Further items that `Contents.fitted` will have.
    """
    arrays = fitted.core.weights()
    arrays |= {f"best.{name}": array for name, array in (best or {}).items()}
    items = _items(fitted) | dict(more or {})
    if training:
        first, second, progress = fitted.core.training_state()
        arrays |= {f"optimizer.first.{name}": array for name, array in first.items()}
        arrays |= {f"optimizer.second.{name}": array for name, array in second.items()}
        items["training"] = {"progress": progress, "end": fitted.end}
    metadata = {
        "format": "backcast",
        "format_version": str(_FORMAT_VERSION),
        "estimator": estimator,
        "parameters": json.dumps(parameters, default=plain),
        "fitted": json.dumps(items, default=plain),
    }
    with replacing(path) as file:
        safetensors.write(file, arrays, metadata)


def _items(fitted: Fitted) -> dict[str, Any]:
    items: dict[str, Any] = {
        "frame_shape": fitted.frame_shape,
        "scaled": fitted.scaled,
        "scale": fitted.scale,
        "seed": fitted.seed,
        "n_iter": fitted.core.progress[0],
        "history": fitted.history,
        "trained_on": fitted.trained_on,
        "horizon": fitted.horizon,
        "columns": _labels(fitted.columns),
        "baselines": fitted.baselines,
    }
    if fitted.classes is not None:
        classes = fitted.classes
        # JSON has no dates.
        plain_classes = classes.astype(np.int64) if classes.dtype.kind in "mM" else classes
        items |= {"classes": plain_classes, "dtype": classes.dtype.str}
    return items


def _labels(columns: tuple[Any, ...] | None) -> list[Any] | None:
    """Return the columns' labels for JSON, or None where it cannot hold one of them."""

    def is_plain(label: Any) -> bool:
        if isinstance(label, tuple):
            return all(map(is_plain, label))
        return isinstance(label, str | int | float | np.integer | np.floating)

    return list(columns) if columns is not None and all(map(is_plain, columns)) else None


def labels_of(saved: Any) -> tuple[Any, ...] | None:
    """Return the columns' labels that a file holds; JSON turns tuples into lists."""
    if saved is None:
        return None
    return tuple(tuple(label) if isinstance(label, list) else label for label in saved)


def read(
    path: str | os.PathLike[str],
    estimator: str,
    check: Callable[[dict[str, Any], dict[str, Any], Shapes], None],
) -> Contents:
    """Read a file of this class of estimator.

    Parameters
    ----------
    path : str or path-like
        The file.
    estimator : str
        Name of the class.
    check : callable
        Called with the parameters, with what was fitted, and with the shapes of the weights, before
        any array is read; raises `ValueError` where they do not fit together.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If it is truncated, corrupt, not of this class, or of a newer format.
    """
    file, size = open_regular(path)
    with file:
        with _refused(path, "is not a backcast model"):
            header = safetensors.read_header(file, size)
            shapes = header.shapes()
        metadata = header.metadata
        if metadata.get("format") != "backcast":
            raise FileFormatError(
                f"{path}: is not a backcast model, but another safetensors file; weights of other "
                "programs load with Model.from_state_dict"
            )
        with damaged(path):
            version = int(metadata["format_version"])
            if version > _FORMAT_VERSION:
                raise FileFormatError(
                    f"{path}: must be of format version {_FORMAT_VERSION} or older, got {version}; "
                    "a newer backcast reads it"
                )
            saved = metadata.get("estimator", "Model")
            if saved != estimator:
                raise FileFormatError(
                    f"{path}: must be a backcast {estimator}, got a {saved}; load it with "
                    f"backcast.{saved}.load"
                )
            parameters = safetensors.parse(metadata["parameters"])
            if "loss_weights" in parameters:
                parameters["loss_weights"] = tuple(parameters["loss_weights"])
            fitted = safetensors.parse(metadata["fitted"])
            check_items(fitted)
            groups = {prefix: _taken(shapes, prefix) for prefix in _PREFIXES}
            for prefix, group in groups.items():
                if group and group != _taken(shapes, ""):
                    raise ValueError(f"{prefix}* must be of the names and shapes of the weights")
            if "training" in fitted and not all(map(groups.get, _PREFIXES[:2])):
                raise ValueError("it lacks the optimizer's moments")
            check(parameters, fitted, _taken(shapes, ""))
            arrays = safetensors.read_arrays(file, shapes)
            for name, array in arrays.items():
                if not np.isfinite(array).all():
                    raise ValueError(f"{name} holds NaN or an infinite number")
            first, second, best = (_taken(arrays, prefix) for prefix in _PREFIXES)
            weights = _taken(arrays, "")
            _check_moments(first, second)
    return Contents(parameters, fitted, weights, first, second, best)


def kind_of(path: str | os.PathLike[str]) -> str:
    """Return the name of the class whose `load` reads a file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If it is not a file of backcast.
    """
    file, size = open_regular(path)
    with file, _refused(path, "is not a backcast model"):
        metadata = safetensors.read_header(file, size).metadata
        if metadata.get("format") != "backcast":
            raise ValueError("it is another safetensors file")
        items = safetensors.parse(metadata["fitted"])
        around = (kind for kind, section in _SECTIONS.items() if section in items)
        return next(around, str(metadata.get("estimator", "Model")))


def section_of(kind: type) -> str:
    """Return the item of a model's file that holds what an estimator around it has learnt."""
    return next(_SECTIONS[base.__name__] for base in kind.__mro__ if base.__name__ in _SECTIONS)


def _check_moments(first: Arrays, second: Arrays) -> None:
    """Refuse moments that no training has: an update by them could make weights infinite."""
    for name, squares in second.items():
        # Adam's own are within a factor of 7.3; those from before a training by RMSProp are not.
        most = 1e10 * (np.sqrt(np.abs(squares)) + 1e-8)
        if (squares < 0).any() or (np.abs(first[name]) > most).any():
            raise ValueError(f"{name} has moments that no training has")


@contextmanager
def damaged(path: str | os.PathLike[str], what: str = "model") -> Iterator[None]:
    """Refuse a file whose contents do not fit together."""
    try:
        with _refused(path, f"is a damaged backcast {what}"):
            yield
    except MemoryError as error:
        raise OutOfMemoryError(f"{path}: takes more memory than is free: {error}") from error


@contextmanager
def _refused(path: str | os.PathLike[str], why: str) -> Iterator[None]:
    try:
        yield
    except FileFormatError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        raise FileFormatError(f"{path}: {why}: {error}") from error


# What comes with the weights: the optimizer's moments, and the best weights so far.
_PREFIXES = ("optimizer.first.", "optimizer.second.", "best.")

_Item = TypeVar("_Item")


def _taken(named: Mapping[str, _Item], prefix: str) -> dict[str, _Item]:
    """Return the items of a group, by their names there; without a prefix those of the weights."""
    if not prefix:
        return {name: item for name, item in named.items() if not name.startswith(_PREFIXES)}
    return {n.removeprefix(prefix): item for n, item in named.items() if n.startswith(prefix)}


def plain(value: Any) -> Any:
    """Return NumPy's numbers as Python's, for JSON."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise ArgumentError(f"{value!r} cannot be saved: words and numbers can")
