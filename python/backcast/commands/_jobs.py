"""What each command does with a part of a file."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backcast import AnomalyDetector, Forecaster, Model
from backcast._estimator.files import kind_of
from backcast.commands._files import Array, File, Table, open_file
from backcast.commands._rows import Keys, chunks, cut, finite, joined, survey
from backcast.data import windows
from backcast.errors import ArgumentError, DataError, FileFormatError, ShapeError
from backcast.forecast._intervals import check_levels, ends_of, levels_of

# Numbers that a part takes in and gives out together; it bounds the memory.
_NUMBERS = 2**23
# Rows at the end of a recording from which the step of its times is taken.
_TAIL = 4096

_COMMANDS = {"Model": "embed", "AnomalyDetector": "score", "Forecaster": "forecast"}


@dataclass(frozen=True)
class Options:
    """What the user asks for, by the names of the options."""

    model: str
    device: str = "auto"
    threads: int | None = None
    past: int | None = None
    stride: int = 1
    pooling: str | None = None
    group: tuple[str, ...] = ()
    time: str | None = None
    columns: tuple[str, ...] = ()
    gap: Any = None
    interval: tuple[float, ...] = ()
    future: str | None = None
    separator: str | None = None
    decimal: str = "."
    part_rows: int | None = None


@dataclass(frozen=True)
class Task:
    """A part of a file, ready to compute.

    Attributes
    ----------
    rows : Any
        What `Job.compute` takes.
    keys : DataFrame or str
        The first columns of the result; for forecasts the name of the file.
    """

    rows: Any
    keys: Any

    @property
    def place(self) -> str:
        """The file, and the rows of it that results are for."""
        if isinstance(self.keys, str):
            return self.keys
        rows = self.keys["row"]
        return f"{self.keys['file'].iloc[0]}, rows {rows.iloc[0]:,} to {rows.iloc[-1]:,}"


class Job:
    """One command on one model; the parent process makes tasks, and workers compute them."""

    kind: type[Any]
    # Columns of the result beside those of the user.
    own: tuple[str, ...] = ("file", "row")

    def __init__(self, options: Options, *, device: str | None = None) -> None:
        self.options = options
        self.model = load(self.kind, options.model, device or options.device)
        network = self.model if isinstance(self.model, Model) else self.model.model_
        given = {"num_threads": options.threads, "pooling": options.pooling}
        network.set_params(verbose=0, **{k: v for k, v in given.items() if v is not None})

    # -- in the parent process ---------------------------------------------------------------------

    def check(self, files: list[File]) -> None:
        """Refuse files and options that do not fit the model, before any work."""
        for file in files:
            self.part_rows(file)
            if isinstance(file, Array):
                lead, frame = self._lead(file), self.frame_shape
                if file.shape[len(lead) :] != frame and (*file.shape, 1) != (file.shape[0], *frame):
                    expected = f"({', '.join([*lead, *map(str, frame)])})"
                    raise ShapeError(
                        f"{file.path}: array must be of shape {expected}, as the model was fitted "
                        f"on frames of shape {frame}, got {file.shape}"
                    )

    def _lead(self, file: Array) -> list[str]:
        """Return the names of an array's dimensions before those of a frame."""
        return ["n_rows"]

    def keys(self, file: Table) -> Keys:
        """Return the columns with the recording and the time."""
        group, time = self._own_keys()
        group, time = self.options.group or group, self.options.time or time
        if time is None and len(file.index) == 1 and file.index[0] in file.dates:
            time = file.index[0]
        keys = Keys(list(group), time)
        known = [*file.names, *file.index]
        for option, names in (("group", keys.group), ("time", [time] if time else [])):
            for name in names:
                if name not in known:
                    raise ArgumentError(
                        f"{file.path}: {option} must be one of its columns, {known}, got {name!r}"
                    )
        return keys

    def columns(self, file: File) -> list[str]:
        """Return the columns of numbers to read; of an array there are none to choose."""
        if isinstance(file, Array):
            if self.options.group or self.options.time or self.options.columns:
                raise ArgumentError(
                    f"{file.path}: group, time and columns must be left out for an array, which "
                    "has no names"
                )
            return []
        keys = self.keys(file)
        wanted = list(self.options.columns) or self._own_columns()
        if wanted is None:
            wanted = [name for name in file.numeric if name not in keys.columns]
        remedy = "; --sep says what separates columns" if len(file.names) == 1 else ""
        for name in wanted:
            if name not in file.names:
                raise ArgumentError(
                    f"{file.path}: columns must be among {file.names}, got {name!r}{remedy}"
                )
            if name not in file.numeric:
                got = file.word(name)
                raise DataError(f"{file.path}: column {name!r} must hold numbers, got {got}")
        if not wanted:
            raise DataError(f"{file.path}: must have a column of numbers, got {file.names}{remedy}")
        if (len(wanted),) != self.frame_shape:
            raise ArgumentError(
                f"{file.path}: columns must be of the shape {self.frame_shape} that the model was "
                f"fitted on, got {wanted}; --columns names them in the model's order"
            )
        # Embeddings do not repeat the numbers of the file.
        shown = keys.columns if isinstance(self.model, Model) else [*wanted, *keys.columns]
        clash = [name for name in shown if name in self.own]
        if clash:
            raise ArgumentError(
                f"{file.path}: columns must have other names than those of the result, "
                f"{list(self.own)}, got {clash[0]!r}"
            )
        return wanted

    def part_rows(self, file: File) -> int:
        """Return the number of rows in a part."""
        columns = self.columns(file)
        width = math.prod(file.shape[1:]) if isinstance(file, Array) else len(columns)
        given, around = self.options.part_rows, self._around()
        if given is not None and given < around:
            raise ArgumentError(f"part-rows must be at least {around}, a window, got {given}")
        return given or int(max(1000, _NUMBERS // max(1, width + self.width), 4 * around))

    def tasks(self, file: File) -> Iterator[tuple[int, Task]]:
        """Yield, for each part, the position in the file after it, and the task."""
        raise NotImplementedError

    @property
    def width(self) -> int:
        """Numbers in the result for each row."""
        raise NotImplementedError

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Shape of a row."""
        raise NotImplementedError

    def _own_keys(self) -> tuple[tuple[str, ...], str | None]:
        """Return group and time that the model was fitted with."""
        group = getattr(self.model, "group", None)
        names = () if group is None else tuple(group) if isinstance(group, list) else (group,)
        return names, getattr(self.model, "time", None)

    def _own_columns(self) -> list[str] | None:
        """Return the columns that the model was fitted on, if they had names."""
        names = getattr(self.model, "feature_names_in_", None)
        return None if names is None else [str(name) for name in names]

    def _around(self) -> int:
        """Return the rows around a part that its results depend on."""
        raise NotImplementedError

    # -- in a worker -------------------------------------------------------------------------------

    def compute(self, task: Task) -> Any:
        """Return the result of a task, a DataFrame; None if there is nothing to say."""
        raise NotImplementedError


class Embed(Job):
    """Embeddings of windows."""

    kind = Model

    @property
    def width(self) -> int:
        """Numbers in the result for each row."""
        return -(-self._names_out().size // self.options.stride)

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Shape of a row."""
        shape: tuple[int, ...] = self.model.frame_shape_
        return shape

    def _names_out(self) -> NDArray[Any]:
        return np.asarray(self.model.get_feature_names_out())

    def _around(self) -> int:
        return self.options.past or 0

    def check(self, files: list[File]) -> None:
        """Refuse files and options that do not fit the model, before any work."""
        given = self.options
        for file in files:
            if given.past is None and (isinstance(file, Table) or len(file.shape) < 3):
                raise ArgumentError(
                    f"{file.path}: past must be given, --past, the frames of a window: the file "
                    "holds rows, not windows"
                )
            if given.past is None and given.stride != 1:
                raise ArgumentError(
                    f"{file.path}: stride must be left out for an array of windows; with --past, "
                    "the array holds rows"
                )
        super().check(files)
        for file in files:
            if given.gap is not None and (isinstance(file, Array) or self.keys(file).time is None):
                raise ArgumentError(f"{file.path}: gap must be left out without --time")
            if given.gap is not None and isinstance(file, Table):
                self._check_gap(file)

    def _check_gap(self, file: Table) -> None:
        """Refuse a gap that does not fit the file's times."""
        import pandas as pd

        keys = self.keys(file)
        first = next(file.blocks(keys.columns, _TAIL, keys.columns), None)
        if first is not None:
            keys.times(first, file.path)
            times = first[keys.time].drop_duplicates()[:2]
            two = pd.DataFrame({"time": times, "x": 0.0})
            windows(two, 1, time="time", columns=["x"], gap=self.options.gap)

    def _lead(self, file: Array) -> list[str]:
        return ["n_windows", "past"] if self.options.past is None else ["n_rows"]

    def tasks(self, file: File) -> Iterator[tuple[int, Task]]:
        """Yield the windows whose last row is in a part."""
        if isinstance(file, Table):
            return self._of_table(file)
        return self._of_windows(file) if self.options.past is None else self._of_array(file)

    def _of_windows(self, file: Array) -> Iterator[tuple[int, Task]]:
        first = 0
        for block in finite(file.blocks(None, self.part_rows(file)), [], file.path):
            usable = _with_numbers(block.reshape(len(block), -1))
            rows = first + np.flatnonzero(usable)
            block = block if usable.all() else block[usable]
            yield file.position, Task(block, _keys(file.path, rows))
            first += len(usable)

    def _of_array(self, file: Array) -> Iterator[tuple[int, Task]]:
        past, stride = self.options.past or 1, self.options.stride
        blocks = finite(file.blocks(None, self.part_rows(file)), [], file.path)
        for chunk in chunks(blocks, max(past - 1, 1), 0):
            # The first window that ends in the part; windows start at multiples of the stride.
            start = max(chunk.first, chunk.first + chunk.before - past + 1)
            start = -(-start // stride) * stride - chunk.first
            rows = chunk.rows[start:]
            starts = np.arange(0, max(0, len(rows) - past + 1), stride)
            known = np.append(0, np.cumsum(_with_numbers(rows.reshape(len(rows), -1))))
            usable = known[starts + past] > known[starts] if len(rows) else starts > 0
            ends = chunk.first + start + starts[usable] + past - 1
            task = rows, None if usable.all() else usable
            yield file.position, Task(task, _keys(file.path, ends))

    def _of_table(self, file: Table) -> Iterator[tuple[int, Task]]:
        past, keys, columns = self.options.past or 1, self.keys(file), self.columns(file)
        size, lead, gap = self.part_rows(file), max(past - 1, 1), self.options.gap
        learnt = survey(file, keys, size, gaps=gap is None and keys.time is not None)
        options: Any = {"group": list(keys.group) or None, "time": keys.time, "columns": columns}
        options["gap"] = learnt if gap is None else gap
        # Rows of the run at the chunk's begin that are before it.
        earlier = 0
        blocks = file.blocks([*keys.columns, *columns], size, keys.columns)
        for chunk in chunks(finite(blocks, columns, file.path), lead, 0):
            # Windows of one frame, since runs may be shorter than `past`.
            w = windows(chunk.rows, 1, **options)
            row = np.arange(len(w.values))
            run = np.searchsorted(w.run_ends, row, "right")
            place = row - np.append(0, w.run_ends)[run]
            place[run == run[w.row_positions == 0]] += earlier
            usable = w.run_ends[run] >= row + past
            usable &= place % self.options.stride == 0
            starts = row[usable]
            known = np.append(0, np.cumsum(_with_numbers(w.values)))
            last = w.row_positions[starts + past - 1]
            new = (last >= chunk.before) & (known[starts + past] > known[starts])
            order = np.argsort(last[new])
            ends, starts = last[new][order], starts[new][order]
            task = replace(w, starts=starts, frames=range(past), n_past=past)
            ends_keys = chunk.rows.iloc[ends][keys.columns].reset_index(drop=True)
            yield file.position, Task(task, _keys(file.path, chunk.first + ends, ends_keys))
            following = chunk.before + chunk.n - lead
            earlier = int(place[w.row_positions == following].sum())

    def compute(self, task: Task) -> Any:
        """Return keys and embeddings."""
        import pandas as pd

        if not len(task.keys):
            return None
        w = task.rows
        if isinstance(w, tuple):
            rows, usable = w
            w = windows(rows, self.options.past or 1, stride=self.options.stride)
            w = w if usable is None else w[usable]
        numbers = pd.DataFrame(np.asarray(self.model.encode(w)), columns=self._names_out())
        return pd.concat([task.keys, numbers], axis=1)


class _OfSeries(Job):
    """A command on a model of series, which knows its columns, group, time and gaps."""

    def __init__(self, options: Options, *, device: str | None = None) -> None:
        super().__init__(options, device=device)
        # Fitted on an array, it takes the columns by their places.
        self.by_place = self.model.columns_ == [*range(self.model.n_features_in_)]
        for name, own in zip(("group", "time"), self._own_keys(), strict=True):
            given = getattr(options, name)
            if given and own and given != own:
                raise ArgumentError(
                    f"{name} must be left out, as this {self.kind.__name__} was fitted with "
                    f"{name}={getattr(self.model, name)!r}, got {given!r}"
                )
            if given and not own and self.model.gap_ is None:
                raise ArgumentError(
                    f"{name} must be left out, as this {self.kind.__name__} was fitted on rows "
                    "without times"
                )
        if options.columns and not self.by_place:
            raise ArgumentError(
                f"columns must be left out, as this {self.kind.__name__} was fitted on "
                f"{self._own_columns()}"
            )

    def check(self, files: list[File]) -> None:
        """Refuse files and options that do not fit the model, before any work."""
        group, time = self._own_keys()
        keys = [*group] if time is None else [*group, time]
        for file in files:
            if keys and isinstance(file, Array):
                raise ArgumentError(
                    f"{file.path}: must be a table with the columns {keys}, with which this "
                    f"{self.kind.__name__} was fitted, got an array, which has no names"
                )
        super().check(files)

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Shape of a row."""
        return (int(self.model.n_features_in_),)

    def series(self, rows: Any, keys: Keys, columns: list[str]) -> Any:
        """Return rows as the model takes them."""
        if isinstance(rows, np.ndarray):
            return rows
        if self.by_place and self.model.gap_ is None:
            return np.asarray(rows[columns])
        # Fitted on an index, it looks for group and time there.
        index = [] if self.model.time is not None or keys.time is None else [keys.time]
        if self.model.group is None:
            index = [*keys.group, *index]
        return rows.set_index(index) if index else rows

    def labels(self, columns: list[str]) -> list[str]:
        """Return the names of the results' columns: those of the file, where it has names."""
        own = self.model.columns_
        return [columns[i] for i in own] if columns and self.by_place else [*map(str, own)]


class Score(_OfSeries):
    """Anomaly scores of rows."""

    kind = AnomalyDetector
    own = ("file", "row", "score", "outlier")

    @property
    def width(self) -> int:
        """Numbers in the result for each row."""
        return 2 + len(self.model.columns_)

    def _around(self) -> int:
        return int(self.model.past_ + self.model.future_)

    def tasks(self, file: File) -> Iterator[tuple[int, Task]]:
        """Yield parts with all rows that a window shares with them."""
        keys, columns, size = Keys([], None), self.columns(file), self.part_rows(file)
        if isinstance(file, Table):
            keys = self.keys(file)
            survey(file, keys, size, gaps=False)
        blocks, around = (
            file.blocks([*keys.columns, *columns], size, keys.columns),
            self._around() - 1,
        )
        for chunk in chunks(finite(blocks, columns, file.path), around, around):
            part = slice(chunk.before, chunk.before + chunk.n)
            keys_of = None
            if keys.columns:
                keys_of = chunk.rows.iloc[part][keys.columns].reset_index(drop=True)
            rows = np.arange(chunk.n) + chunk.first + chunk.before
            series = self.series(chunk.rows, keys, columns)
            task = series, part, self.labels(columns)
            yield file.position, Task(task, _keys(file.path, rows, keys_of))

    def compute(self, task: Task) -> Any:
        """Return keys, the score of each row, whether it is an outlier, and the columns' scores."""
        import pandas as pd

        series, part, labels = task.rows
        scores = np.asarray(self.model.scores(series))[part]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            score = np.sqrt(np.nanmean(scores**2, axis=1))
        own = pd.DataFrame({"score": score, "outlier": score > -self.model.offset_})
        return pd.concat([task.keys, own, pd.DataFrame(scores, columns=labels)], axis=1)


class Forecast(_OfSeries):
    """Forecasts of the rows after each recording."""

    kind = Forecaster
    own = ("file", "step")
    _future: Any = None

    @property
    def width(self) -> int:
        """Numbers in the result for each row."""
        return 0

    def _around(self) -> int:
        return int(self.model.past)

    def check(self, files: list[File]) -> None:
        """Refuse files and options that do not fit the model, before any work."""
        super().check(files)
        check_levels(self.model._intervals, levels_of(list(self.options.interval)))
        path, known = self.options.future, self.model._known
        if known and path is None:
            raise ArgumentError(
                "future must be given, --future, a file with the columns "
                f"{known} of the rows to come, as this Forecaster knows them in the future"
            )
        if path is not None:
            if not known:
                raise ArgumentError(
                    "future must be left out, as this Forecaster was fitted without future_columns"
                )
            future = open_file(path, self.options.separator, self.options.decimal)
            steps = self.model.future
            if isinstance(future, Array):
                shape = (future.shape + (1,))[:2] if len(future.shape) < 3 else future.shape
                if shape[1:] != (len(known),) or shape[0] < steps:
                    raise ShapeError(
                        f"{path}: future must be of shape ({steps}, {len(known)}), or longer, got "
                        f"{future.shape}"
                    )
            if isinstance(future, Table):
                for name in () if self.by_place else known:
                    if name not in future.numeric:
                        raise ArgumentError(
                            f"{path}: future must have the columns {known} of numbers, got "
                            f"{future.numeric}"
                        )
                self.keys(future)

    def tasks(self, file: File) -> Iterator[tuple[int, Task]]:
        """Yield the ends of some recordings."""
        keys, columns, size = Keys([], None), self.columns(file), self.part_rows(file)
        if isinstance(file, Table):
            keys = self.keys(file)
            survey(file, keys, size, gaps=False)
        blocks = file.blocks([*keys.columns, *columns], size, keys.columns)
        for rows in _ends(finite(blocks, columns, file.path), keys, self._around() + _TAIL, size):
            task = self.series(rows, keys, columns), keys, self.labels(columns)
            yield file.position, Task(task, file.path)

    def compute(self, task: Task) -> Any:
        """Return file, recording, time and step of each row to come, and the forecasts."""
        import pandas as pd

        series, keys, labels = task.rows
        steps, levels = self.model.future, list(self.options.interval) or None
        try:
            made: Any = self.model.predict(series, interval=levels, future=self._known(keys))
        except ShapeError as error:
            # No recording of this part is long enough; those of others may be.
            warnings.warn(str(error), UserWarning, stacklevel=1)
            return None
        if isinstance(made, np.ndarray):
            ends = ends_of(levels_of(levels)) if levels else [""]
            labels = [f"{label}{end}" for label in labels for end in ends]
            made = pd.DataFrame(made.reshape(steps, -1), columns=labels)
        else:
            # An index of rows without times is left out.
            other = [name for name in made.index.names if name not in keys.columns]
            made = made.reset_index()
            made = made.drop(columns=["index" if name is None else name for name in other])
        made.insert(0, "file", task.keys)
        made.insert(1 + len(keys.columns), "step", np.arange(len(made)) % steps + 1)
        return made

    def _known(self, keys: Keys) -> Any:
        """Return the columns that are known in the future, of the user's file."""
        if self.options.future is not None and self._future is None:
            file = open_file(self.options.future, self.options.separator, self.options.decimal)
            if isinstance(file, Array):
                self._future = joined(file.blocks(None, file.shape[0]))
            else:
                names = [*keys.columns, *(n for n in file.numeric if n not in keys.columns)]
                rows = joined(file.blocks(names, 2**20, keys.columns))
                self._future = self.series(rows, keys, file.numeric)
        return self._future


def load(kind: type[Any], path: str, device: str) -> Any:
    """Load a model of this class; of another one, say which command takes it.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If it is damaged, or holds another kind of model.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"{path}: there is no such model")
    found = kind_of(path)
    if found != kind.__name__:
        remedy = f"backcast.{found} uses it in Python"
        if found in _COMMANDS:
            remedy = f"backcast {_COMMANDS[found]} takes it"
        wanted, command = kind.__name__, _COMMANDS[kind.__name__]
        raise FileFormatError(
            f"{path}: model must be of the class {wanted} for backcast {command}, got one of the "
            f"class {found}: {remedy}"
        )
    return kind.load(path, device=device)


def _keys(path: str, rows: NDArray[Any], keys: Any = None) -> Any:
    """Return the first columns of a result: the file, the row in it, recording and time."""
    import pandas as pd

    first = pd.DataFrame({"file": np.full(len(rows), path, object), "row": rows})
    return first if keys is None else pd.concat([first, keys], axis=1)


def _with_numbers(rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which rows hold a known number."""
    if rows.dtype.kind != "f":
        return np.ones(len(rows), np.bool_)
    return np.asarray(~np.isnan(rows).all(axis=1))


def _ends(blocks: Iterator[Any], keys: Keys, length: int, size: int) -> Iterator[Any]:
    """Yield the last rows of each recording, those of several together."""
    first = next(blocks, None)
    second = next(blocks, None)
    if second is None:
        # Rows of one block may be in any order.
        if first is not None:
            yield first
        return
    ready: list[Any] = []
    last: Any = None
    for block in chain([first, second], blocks):
        runs = np.zeros(len(block)) if isinstance(block, np.ndarray) else keys.names(block)
        begins = np.flatnonzero(np.append(True, runs[1:] != runs[:-1]))
        for begin, end in zip(begins, [*begins[1:], len(block)], strict=True):
            part = cut(cut(block, end), begin - end)
            goes_on = last is not None and begin == 0
            if goes_on and keys.group:
                goes_on = keys.label(last, -1) == keys.label(part, 0)
            if last is not None and not goes_on:
                ready.append(last)
                last = None
            last = cut(joined([last, cut(part, -length)]), -length)
        if sum(map(len, ready)) >= size:
            yield joined(ready)
            ready = []
    yield joined([*ready, last])
