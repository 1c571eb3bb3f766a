"""Files of rows, read block by block: CSV, Parquet, .npy and zarr."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backcast.errors import ArgumentError, DataError, FileFormatError, MissingPackageError

KINDS = ".csv, .tsv (also .gz), .parquet, .npy and .zarr"
# Bytes of a file that are read at a time.
_READ = 2**20


def require(name: str, what: str, remedy: str | None = None) -> Any:
    """Import an optional package.

    Raises
    ------
    MissingPackageError
        If it is missing; the message says what needs it and how to install it.
    """
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        remedy = remedy or f"pip install {package}"
        raise MissingPackageError(f"{what} needs the package {package}: {remedy}") from error


def arrow(name: str = "pyarrow") -> Any:
    """Import pyarrow, or a part of it."""
    return require(name, "reading and writing tables", "pip install 'backcast[archive]'")


@dataclass
class Table:
    """A file with one row for each time, and named columns.

    Attributes
    ----------
    path : str
        The file, as the user names it.
    separator, decimal : str
        What separates columns of text, and what a fraction begins with there.
    names, numeric : list of str
        All columns but those of a stored index, and those of numbers among them.
    index : list of str
        Columns that are the index of the pandas table that was written.
    dates : list of str
        Columns of dates.
    position : int
        Bytes of the file that were read.
    """

    path: str
    separator: str = ","
    decimal: str = "."
    names: list[str] = field(default_factory=list)
    numeric: list[str] = field(default_factory=list)
    index: list[str] = field(default_factory=list)
    dates: list[str] = field(default_factory=list)
    position: int = 0

    def __post_init__(self) -> None:
        """Read the names and types of the columns."""
        pa = arrow()
        with self._reading():
            schema = self._schema()
        twice = [name for name in schema.names if schema.names.count(name) > 1]
        if twice:
            raise DataError(
                f"{self.path}: columns must have different names, got {twice[0]!r} twice"
            )
        stored = (schema.pandas_metadata or {}).get("index_columns", [])
        self.index = [name for name in stored if isinstance(name, str)]
        self.names = [name for name in schema.names if name not in self.index]
        types = pa.types
        self.dates = [f.name for f in schema if types.is_temporal(f.type)]
        self.numeric = [
            f.name
            for f in schema
            if f.name in self.names
            and any(
                check(f.type)
                for check in (
                    types.is_integer,
                    types.is_floating,
                    types.is_boolean,
                    types.is_decimal,
                    types.is_null,
                )
            )
        ]

    def blocks(self, columns: list[str], size: int, labels: Sequence[str] = ()) -> Iterator[Any]:
        """Yield DataFrames of these columns with `size` rows each, the last one with the rest.

        Whole numbers of text stay so in `labels`; in others, some may be followed by fractions.
        """
        pa = arrow()
        kept: list[Any] = []
        n = 0
        with self._reading():
            for batch in self._batches(columns, size, labels):
                while n + batch.num_rows >= size:
                    need = size - n
                    yield _frame(pa, [*kept, batch.slice(0, need)], columns)
                    batch, kept, n = batch.slice(need), [], 0
                if batch.num_rows:
                    kept.append(batch)
                    n += batch.num_rows
        if kept:
            yield _frame(pa, kept, columns)

    def word(self, column: str) -> str:
        """Return a value of a column which is not numeric, in words for a message."""
        return "words or dates"

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Say which file cannot be read, and where."""
        pa = arrow()
        try:
            yield
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise DataError(self._described(str(error))) from error
        except OSError as error:
            # pyarrow raises it for damaged files too, then without a number.
            if error.errno is not None:
                raise
            raise FileFormatError(f"{self.path}: cannot be read: {error}") from error

    def _described(self, error: str) -> str:
        return f"{self.path}: {error}"

    def _schema(self) -> Any:
        raise NotImplementedError

    def _batches(self, columns: list[str], size: int, labels: Sequence[str]) -> Iterator[Any]:
        raise NotImplementedError


class _Csv(Table):
    """A file of text, with the names of the columns in its first line."""

    def _schema(self) -> Any:
        pa = arrow()
        schema = self._open(None, None)[0].schema
        # The types of the first rows are those of all: what looks like whole numbers may go on
        # with others, whole seconds with parts of them.
        self._columns = schema.names
        self._types = {each.name: _widest(pa, each.type) for each in schema}
        return pa.schema([(each.name, self._types[each.name]) for each in schema])

    def _batches(self, columns: list[str], size: int, labels: Sequence[str]) -> Iterator[Any]:
        pa, types = arrow(), {name: self._types[name] for name in columns}
        for name in {*columns} - {*labels}:
            types[name] = pa.float64() if pa.types.is_integer(types[name]) else types[name]
        reader, file = self._open(columns, types)
        for batch in reader:
            self.position = file.tell()
            yield batch

    def word(self, column: str) -> str:
        """Return the first value of a column which is no number, in words for a message."""
        pa = arrow()
        batch = self._open([column], {column: pa.string()})[0].read_next_batch()
        pattern = re.compile(rf"[+-]?\d*({re.escape(self.decimal)}\d*)?([eE][+-]?\d+)?")
        for row, value in enumerate(batch.column(0).to_pylist()):
            if value is not None and not pattern.fullmatch(value.strip()):
                remedy = ""
                if self.decimal == "." and re.fullmatch(r"[+-]?\d*,\d+", value):
                    remedy = "; --decimal , reads decimal commas"
                return f"{value!r} in line {row + 2}{remedy}"
        return super().word(column)

    def _described(self, error: str) -> str:
        """Say where in the file, and what may help."""
        if "Empty CSV" in error:
            return f"{self.path}: must hold rows, got an empty file"
        if "codec can't decode" in error or "invalid UTF8" in error:
            return f"{self.path}: must be text in UTF-8, got another encoding: {error}"
        value = re.search(r"column #(\d+): Row #(\d+): .*? invalid value '(.*)'", error, re.DOTALL)
        if value:
            number, line, text = int(value[1]), int(value[2]), value[3]
            column = self._columns[number] if number < len(self._columns) else number
            return (
                f"{self.path}, line {line:,}, column {column!r}: must hold values "
                f"like those of the first rows, got {text!r}"
            )
        shape = re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", error)
        if shape:
            line, expected, found = map(int, shape.groups())
            remedy = "; --sep says what separates columns" if expected == 1 else ""
            return (
                f"{self.path}, line {line:,}: must have {expected} columns as the first line, got "
                f"{found}{remedy}"
            )
        return f"{self.path}: {error}"

    def _open(self, columns: list[str] | None, types: Any) -> tuple[Any, Any]:
        csv, pa = arrow("pyarrow.csv"), arrow()
        file = pa.OSFile(self.path)
        stream = pa.CompressedInputStream(file, "gzip") if self.path.endswith(".gz") else file
        reader = csv.open_csv(
            stream,
            read_options=csv.ReadOptions(block_size=_READ),
            parse_options=csv.ParseOptions(delimiter=self.separator),
            convert_options=csv.ConvertOptions(
                column_types=types,
                include_columns=columns,
                strings_can_be_null=True,
                decimal_point=self.decimal,
            ),
        )
        return reader, file


class _Parquet(Table):
    """A Parquet file."""

    def _schema(self) -> Any:
        pa = arrow()
        try:
            file = self._open()
        except pa.ArrowInvalid as error:
            raise FileFormatError(f"{self.path}: is not a Parquet file: {error}") from error
        if not file.metadata.num_rows:
            raise DataError(f"{self.path}: must hold rows, got none")
        self.n_rows = file.metadata.num_rows
        return file.schema_arrow

    def _batches(self, columns: list[str], size: int, labels: Sequence[str]) -> Iterator[Any]:
        bytes_of_all, done = Path(self.path).stat().st_size, 0
        for batch in self._open().iter_batches(min(size, 2**16), columns=columns):
            done += batch.num_rows
            self.position = bytes_of_all * done // max(1, self.n_rows)
            yield batch

    def _open(self) -> Any:
        # A group of rows is read piece by piece, however large it is.
        return arrow("pyarrow.parquet").ParquetFile(self.path, buffer_size=_READ, pre_buffer=False)


@dataclass
class Array:
    """A file that holds one array.

    Attributes
    ----------
    path : str
        The file, as the user names it.
    shape : tuple of int
        The shape of the array.
    position : int
        Bytes of the file that were read.
    """

    path: str
    shape: tuple[int, ...] = ()
    position: int = 0

    def __post_init__(self) -> None:
        """Read the shape."""
        array = self._open()
        self.shape = tuple(array.shape)
        if array.dtype.kind not in "uifb":
            raise DataError(f"{self.path}: must hold numbers, got dtype {array.dtype}")
        if len(self.shape) < 1 or not self.shape[0]:
            raise DataError(f"{self.path}: must hold rows, got shape {self.shape}")

    def blocks(self, columns: Any, size: int, labels: Any = ()) -> Iterator[NDArray[Any]]:
        """Yield arrays with `size` rows each, the last one with the rest."""
        bytes_of_all = size_of(self.path)
        for first in range(0, self.shape[0], size):
            # Opened anew each time, a map does not keep the pages that were read.
            block = np.array(self._open()[first : first + size])
            self.position = bytes_of_all * (first + len(block)) // self.shape[0]
            yield block

    def _open(self) -> Any:
        path = Path(self.path)
        if path.suffix == ".npy":
            try:
                return np.load(path, mmap_mode="r", allow_pickle=False)
            except (ValueError, EOFError) as error:
                raise FileFormatError(f"{path}: is not a .npy file of numbers: {error}") from error
        zarr = require("zarr", f"reading {path}")
        try:
            return zarr.open_array(str(path), mode="r")
        except Exception as error:  # zarr has errors of its own, and others by its release
            raise FileFormatError(f"{path}: is not an array of zarr: {error}") from error


File = Table | Array


def open_file(path: str, separator: str | None = None, decimal: str = ".") -> File:
    """Open a file by the end of its name.

    Parameters
    ----------
    path : str
        The file.
    separator : str, default=None
        What separates columns of text; by default a comma, or a tab in files named .tsv.
    decimal : {".", ","}, default="."
        What a fraction begins with in text.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ArgumentError
        If its kind is unknown.
    DataError, FileFormatError
        If it is empty, damaged or holds no numbers.
    MissingPackageError
        If a package that reads it is missing.
    """
    place = Path(path)
    if not place.exists():
        raise FileNotFoundError(f"{path}: there is no such file")
    name = place.name.lower().removesuffix(".gz")
    if place.suffix == ".zarr":
        return Array(path)
    if place.is_dir():
        raise ArgumentError(f"{path}: is a folder; name its files, as {path.rstrip('/')}/*.parquet")
    if not place.stat().st_size:
        raise DataError(f"{path}: must hold rows, got an empty file")
    if name.endswith(".npy"):
        return Array(path)
    arrow()
    require("pandas", "reading tables", "pip install 'backcast[archive]'")
    if name.endswith((".csv", ".tsv", ".txt")):
        separator = separator or ("\t" if name.endswith(".tsv") else ",")
        if separator == decimal:
            raise ArgumentError(
                f"{path}: sep must be another character than decimal, got {decimal!r} for both; "
                "with a decimal comma it is often --sep ';'"
            )
        return _Csv(path, separator, decimal)
    if name.endswith((".parquet", ".pq")):
        return _Parquet(path)
    raise ArgumentError(f"{path}: must be one of {KINDS}, got {place.suffix or 'no ending'}")


def size_of(path: str) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    place = Path(path)
    if place.is_dir():
        return sum(each.stat().st_size for each in place.rglob("*") if each.is_file())
    return place.stat().st_size


def _frame(pa: Any, batches: list[Any], columns: list[str]) -> Any:
    table = pa.Table.from_batches(batches).select(columns).replace_schema_metadata(None)
    return table.to_pandas(date_as_object=False)


def _widest(pa: Any, kind: Any) -> Any:
    """Return the type of a column whose first rows have this one."""
    if pa.types.is_null(kind):
        return pa.float64()
    if pa.types.is_binary(kind):
        return pa.string()  # which is refused where it is read, as it is no UTF-8
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return pa.timestamp("ns", getattr(kind, "tz", None))
    return kind
