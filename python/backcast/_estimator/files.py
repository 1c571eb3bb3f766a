"""Model files: safetensors with the weights, all parameters and the rest of the fitted record."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backcast import _core
from backcast._estimator.fitted import Fitted
from backcast.errors import ArgumentError, FileFormatError

_FORMAT_VERSION = 1

Arrays = dict[str, NDArray[np.float32]]


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
    _core.write(os.fspath(Path(os.fsdecode(path))), arrays, metadata)


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


def read(path: str | os.PathLike[str], estimator: str) -> Contents:
    """Read a file of this class of estimator.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If it is truncated, corrupt, not of this class, or of a newer format.
    """
    arrays, metadata = _core.read(os.fspath(Path(os.fsdecode(path))))
    if metadata.get("format") != "backcast":
        raise FileFormatError(
            f"{path}: is not a backcast model, but another safetensors file; weights of other "
            "programs load with Model.from_state_dict"
        )
    try:
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
        parameters = json.loads(metadata["parameters"])
        if "loss_weights" in parameters:
            parameters["loss_weights"] = tuple(parameters["loss_weights"])
        return Contents(
            parameters=parameters,
            fitted=json.loads(metadata["fitted"]),
            first=_taken(arrays, "optimizer.first."),
            second=_taken(arrays, "optimizer.second."),
            best=_taken(arrays, "best."),
            weights=arrays,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(path, error) from error


def damaged(path: str | os.PathLike[str], error: Exception) -> FileFormatError:
    """Return the error of a file whose contents do not fit together."""
    if isinstance(error, FileFormatError):
        return error
    return FileFormatError(f"{path}: is a damaged backcast model: {error}")


def _taken(arrays: Arrays, prefix: str) -> Arrays:
    """Remove the arrays whose names have the prefix; return them without the prefix."""
    names = [name for name in arrays if name.startswith(prefix)]
    return {name.removeprefix(prefix): arrays.pop(name) for name in names}


def plain(value: Any) -> Any:
    """Return NumPy's numbers as Python's, for JSON."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise ArgumentError(f"{value!r} cannot be saved: words and numbers can")


def try_place(path: str | os.PathLike[str]) -> None:
    """Raise the system's error if a file cannot be written, before hours of training.

    Raises
    ------
    OSError
        If the folder is missing or cannot be written to, or the path is a folder.
    """
    place = Path(path)
    if place.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(place))
    if not place.parent.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(place))
    with tempfile.NamedTemporaryFile(dir=place.parent, prefix=f".{place.name[:100]}."):
        pass
