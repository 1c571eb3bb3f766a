"""Tables of any library as pandas DataFrames, and the numbers in their columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from itertools import islice
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from backcast._warn import warn
from backcast.errors import ArgumentError, DataError

if TYPE_CHECKING:
    import pandas as pd

# What separates columns in a file that was read as one column.
_SEPARATOR = re.compile(r"[;\t|]")


class Convertible(Protocol):
    """A table of another library than pandas, as polars' and pyarrow's."""

    def to_pandas(self, *args: Any, **kwargs: Any) -> Any: ...  # noqa: D102


Table: TypeAlias = "pd.DataFrame | pd.Series[Any] | Convertible | Mapping[Any, pd.DataFrame]"
"""A table, for type checkers; `is_table` looks closer."""

# Values of a column of words that are tried as numbers.
_SAMPLE = 1000
# Labels that a message lists.
_LISTED = 12
# A number, also with a decimal comma or a unit.
_NUMBER = re.compile(
    r"\s*[-+]?(\d+([.,]\d*)?|[.,]\d+|inf|nan)(e[-+]?\d+)?\s*°?[^\W\d]{0,4}%?\s*", re.IGNORECASE
)


def is_table(given: Any) -> bool:
    """Whether it is a table or a labelled series, of pandas or of another library, or several."""
    if isinstance(given, np.ndarray):
        return False
    if hasattr(given, "iloc") or (isinstance(given, Mapping) and _are_tables(given)):
        return True
    # An xarray.Dataset, a lazy polars frame, a pyarrow table, a relation of DuckDB.
    ways = ("to_pandas", "toPandas", "to_dataframe", "collect", "df", "__dataframe__")
    # Asking a lazy frame itself for its columns would resolve them.
    known = {*dir(type(given)), *getattr(given, "__dict__", {})}
    named = not known.isdisjoint(("columns", "column_names", "data_vars"))
    return named and not known.isdisjoint(ways)


def _are_tables(given: Mapping[Any, Any]) -> bool:
    """Whether it is a mapping of tables by the names of recordings, not one of columns."""
    values = list(given.values())
    return bool(values) and all(hasattr(each, "columns") and is_table(each) for each in values)


def has_time_axis(given: Any) -> bool:
    """Whether it is a labelled array, as xarray's, whose first dimension has dates."""
    dims = getattr(given, "dims", None)
    if not dims or not hasattr(given, "coords") or not hasattr(given, "to_pandas"):
        return False
    if dims[0] not in given.coords:
        return False
    return given.ndim <= 2 and np.asarray(given.coords[dims[0]]).dtype.kind in "mM"


def table_of(given: Any) -> Any:
    """Return a pandas DataFrame of a table of any library; tables by name have it in their index.

    Raises
    ------
    ArgumentError
        If the table is not in memory; the message names the call that reads it.
    """
    import pandas as pd

    if isinstance(given, pd.DataFrame):
        return given
    if isinstance(given, pd.Series):
        return given.to_frame()
    if isinstance(given, Mapping):
        some = {name: table_of(each) for name, each in given.items()}
        first = next(iter(some.values()))
        for name, each in some.items():
            same = [*each.columns] == [*first.columns] and each.index.nlevels == first.index.nlevels
            if not same or getattr(each.index, "tz", None) != getattr(first.index, "tz", None):
                raise ArgumentError(
                    "tables by name must have the same columns and an index of one kind, got "
                    f"others in {name!r} than in {next(iter(some))!r}"
                )
        return pd.concat(some)
    kind = f"{type(given).__module__.partition('.')[0]}.{type(given).__name__}"
    if hasattr(given, "data_vars"):
        raise ArgumentError(f"series must be a DataFrame, got a {kind}: call to_dataframe() first")
    # An array of xarray is in memory as soon as it is a table.
    in_memory = hasattr(given, "get_column") or hasattr(given, "coords")
    for way in ("compute", "toPandas", "collect"):
        if hasattr(given, way) and not in_memory:
            raise ArgumentError(f"series must be in memory, got a {kind}: call {way}() first")
    if hasattr(given, "get_column"):
        return _of_polars(given, pd)
    for way in ("to_pandas", "df", "_to_pandas"):
        if hasattr(given, way):
            return table_of(getattr(given, way)())
    raise ArgumentError(f"series must be a pandas.DataFrame, got a {kind}")


def _of_polars(given: Any, pd: Any) -> Any:
    """Return a frame of polars column by column, which needs no further package."""
    columns = {}
    for name in given.columns:
        column = given.get_column(name)
        series = pd.Series(column.to_numpy(), name=name)
        zone = getattr(column.dtype, "time_zone", None)
        if zone is not None and series.dtype.kind == "M":
            series = series.dt.tz_localize("UTC").dt.tz_convert(zone)
        columns[name] = series
    return pd.DataFrame(columns, index=range(len(given)))


def chosen(table: Any, columns: Any, others: Iterable[Any]) -> list[Any]:
    """Return the labels of the columns with numbers: those asked for, or by default all others.

    Columns that look like numbers and are none are left out with a warning.
    """
    if columns is None:
        labels = _default(table, set(others))
    else:
        labels = _asked(table, columns)
    for i, label in enumerate(labels):
        if label in labels[:i]:
            raise ArgumentError(f"columns must have different names, got {label!r} twice")
    return labels


def _default(table: Any, others: set[Any]) -> list[Any]:
    labels: list[Any] = []
    left_out: dict[str, list[tuple[Any, str]]] = {}
    for place, label in enumerate(table.columns):
        column = table.iloc[:, place]
        if label in others:
            continue
        if column.dtype.kind == "c":
            raise DataError(f"{label!r} must hold real numbers, got dtype {column.dtype}")
        if is_numeric(column):
            labels.append(label)
        elif found := remedy(column, label):
            left_out.setdefault(found.why, []).append((label, found.how))
    for why, some in left_out.items():
        names = ", ".join(repr(name) for name, _ in some)
        warn(f"columns left out, as they {why}: {names}. {some[0][1]}", UserWarning)
    if not labels:
        raise DataError(f"series must have a column of numbers, got {list(table.columns)}")
    return labels


def _asked(table: Any, columns: Any) -> list[Any]:
    """Return the labels in `columns`: one, several, or an upper level of two-level columns."""
    one = isinstance(columns, str | bytes) or not hasattr(columns, "__iter__")
    if one or (isinstance(columns, tuple) and columns in table.columns):
        asked = [columns]
    elif isinstance(columns, set | frozenset):
        # A set has no order; the table has one.
        asked = [label for label in table.columns if label in columns]
        asked += [label for label in columns if label not in asked]
    else:
        asked = list(columns)
    if not asked:
        raise ArgumentError("columns must name at least one column, got none")
    labels = []
    for label in asked:
        try:
            known = label in table.columns
        except TypeError:
            known = False
        if not known:
            raise ArgumentError(f"columns must be in the table, got {label!r}{among(table)}")
        part = table[label]
        if part.ndim == 1:
            labels.append(label)
        elif table.columns.nlevels > 1:
            labels += table.loc[:, [label]].columns.tolist()
        else:
            raise ArgumentError(f"columns must have different names, got {label!r} twice")
    for label in labels:
        column = table[label]
        if column.ndim == 1 and not is_numeric(column) and not column.isna().all():
            how = f": {found.how}" if (found := remedy(column, label)) else ""
            raise DataError(f"{label!r} must hold real numbers, got dtype {column.dtype}{how}")
    return labels


def own_name(name: str, theirs: Iterable[Any]) -> str:
    """Return a name for a level or a column of our own that is none of the user's."""
    taken = {str(label) for label in theirs}
    while name in taken:
        name += "_"
    return name


def listed(labels: Iterable[Any]) -> str:
    """Write labels as a list, many of them shortened."""
    words = [repr(label) for label in labels]
    more = [f"... {len(words) - _LISTED} more"] if len(words) > _LISTED else []
    return f"[{', '.join(words[:_LISTED] + more)}]"


def among(table: Any, *, index: bool = False) -> str:
    """Return what labels a table has instead of the one asked for, and how to read more of them.

    With `index`, levels of its index count too.
    """
    names = [name for name in table.index.names if name is not None] if index else []
    columns = [*table.columns]
    hint = ""
    if len(columns) == 1 and (found := _SEPARATOR.search(str(columns[0]))):
        hint = f": pandas.read_csv(..., sep={found[0]!r}) divides it into columns"
    return f", which is not among {listed([*columns, *names])}{hint}"


def is_numeric(column: Any) -> bool:
    """Whether a column holds real numbers, in whatever type."""
    dtype = column.dtype
    if str(dtype).startswith("decimal"):
        return True
    if dtype.kind == "O" and str(dtype) == "object":
        known = column[column.notna()]
        return len(known) > 0 and all(isinstance(value, Real | Decimal) for value in known)
    return dtype.kind in "buif"


def is_words(column: Any) -> bool:
    """Whether a column holds text, also as categories or as objects."""
    if str(column.dtype) == "category":
        column = column.cat.categories
    if column.dtype.kind not in "OTU":
        return False
    return any(isinstance(value, str) for value in islice(column, _SAMPLE))


class Remedy(NamedTuple):
    """Why a column of words holds no numbers, and how it becomes one of numbers."""

    why: str
    how: str


def remedy(column: Any, label: Any) -> Remedy | None:
    """Return how a column of words, most of which can be read as numbers, becomes one of numbers.

    None if most of it cannot be read so.
    """
    if not is_words(column) or str(column.dtype) == "category":
        return None
    some = [value for value in column.dropna().iloc[:_SAMPLE] if isinstance(value, str | Real)]
    found = sum(1 for value in some if _NUMBER.fullmatch(str(value)))
    if not some or 2 * found <= len(some):
        return None
    if all(_is_float(value) for value in some):
        return Remedy(
            "store numbers as words",
            f"table[{label!r}] = pandas.to_numeric(table[{label!r}]) makes numbers of them",
        )
    return Remedy(
        "hold words beside numbers",
        f"pandas.to_numeric(table[{label!r}], errors='coerce') makes NaN of the words, and "
        "decimal=',' of pandas.read_csv reads decimal commas",
    )


def _is_float(value: Any) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def numbers(table: Any, labels: list[Any]) -> NDArray[Any]:
    """Return these columns as one array; in a table, bytes are numbers and no pixels."""
    part = table[labels]
    dtypes = set(part.dtypes)
    if len(dtypes) == 1 and isinstance(dtype := dtypes.pop(), np.dtype) and dtype.kind != "O":
        array = part.to_numpy()
    else:
        # Of several types, nullable, Arrow's, decimals: missing numbers become NaN.
        array = np.empty(part.shape)
        for place in range(part.shape[1]):
            column = part.iloc[:, place]
            array[:, place] = _floats(column)
    return np.ascontiguousarray(as_plain_numbers(array))


def _floats(column: Any) -> NDArray[np.float64]:
    if column.dtype == object or str(column.dtype).startswith("decimal"):
        values = column.to_numpy(dtype=object, na_value=None)
        return np.array([np.nan if is_missing(v) else float(v) for v in values], np.float64)
    numbers: NDArray[np.float64] = column.to_numpy(dtype=np.float64, na_value=np.nan)
    return numbers


def is_missing(value: Any) -> bool:
    """Whether a single value is None, NaN, NA or NaT."""
    # NA has no truth value, so that its type comes first.
    nothing = value is None or type(value).__name__ in ("NAType", "NaTType", "MaskedConstant")
    return nothing or bool(value != value)


def objects_as_floats(array: NDArray[Any]) -> NDArray[np.float64] | None:
    """Return an array of Python's numbers as floats, NaN where one is missing.

    None if it holds anything else.
    """
    flat = [np.nan if is_missing(value) else value for value in array.ravel()]
    if not all(isinstance(value, Real | Decimal) for value in flat):
        return None
    return np.array([float(value) for value in flat], np.float64).reshape(array.shape)


def as_plain_numbers(array: NDArray[Any]) -> NDArray[Any]:
    """Return bytes as wider integers, which the engine does not take as pixels."""
    return array.astype(np.int16) if array.dtype == np.uint8 else array
