"""The table of parameters: names, types, ranges, words, defaults, meanings.

Checks and their messages come from here. The words that the engine parses come from the engine.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal

import numpy as np
from sklearn.utils import check_random_state

from backcast import _core
from backcast.errors import ArgumentError, DecoderError

DECODERS = {
    "both": ("reconstruct", "predict"),
    "reconstruct": ("reconstruct",),
    "predict": ("predict",),
}
"""The decoders that each word of `decoders` asks for."""

WORDS = {option: tuple(words) for option, words in _core.words().items()}
"""The words of each option that the engine parses."""

LOSS_RANGES = _core.loss_ranges()
"""The range of frames that each loss requires: 0 to 1, or None for any number."""

Check = Callable[[str, Any], Any]
"""Takes a parameter's name and value; returns the value for the engine, or raises."""


# -- kinds of values -------------------------------------------------------------------------------


def integer(name: str, value: Any, least: int | None = None, most: int = 2**53) -> int:
    """Return a whole number, of NumPy's or another type too."""
    try:
        if isinstance(value, bool):
            raise TypeError
        whole = operator.index(value)
    except TypeError:
        raise ArgumentError(f"{name} must be a whole number, got {value!r}") from None
    if least is not None and whole < least:
        raise ArgumentError(f"{name} must be at least {least}, got {whole}")
    if whole > most:
        raise ArgumentError(f"{name} must be at most {most}, got {whole}")
    return whole


def number(name: str, value: Any) -> float:
    """Return a real number."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise ArgumentError(f"{name} must be a number, got {value!r}")
    return float(value)


def flag(name: str, value: Any) -> bool:
    """Return True or False."""
    if not isinstance(value, bool | np.bool_):
        raise ArgumentError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def text(name: str, value: Any) -> str:
    """Return a string."""
    if not isinstance(value, str):
        raise ArgumentError(f"{name} must be a string, got {value!r}")
    return value


@dataclass(frozen=True)
class Whole:
    """A whole number from `least` to `most`."""

    least: int
    most: int = 2**53

    def __call__(self, name: str, value: Any) -> int:
        """Check a value."""
        return integer(name, value, self.least, self.most)


@dataclass(frozen=True)
class Number:
    """A number for which `holds` is true; `expected` describes it in errors."""

    expected: str = "a finite number"
    holds: Callable[[float], bool] = math.isfinite

    def __call__(self, name: str, value: Any) -> float:
        """Check a value."""
        found = number(name, value)
        if not self.holds(found):
            raise ArgumentError(f"{name} must be {self.expected}, got {value!r}")
        return found


@dataclass(frozen=True)
class Word:
    """One of these words, or None where None is one of them."""

    words: tuple[str | None, ...]

    def __call__(self, name: str, value: Any) -> str | None:
        """Check a value."""
        if not isinstance(value, str | None) or value not in self.words:
            raise ArgumentError(f"{name} must be {either(self.words)}, got {value!r}")
        return value


@dataclass(frozen=True)
class Optional:
    """None, or what `check` takes."""

    check: Check

    def __call__(self, name: str, value: Any) -> Any:
        """Check a value."""
        return None if value is None else self.check(name, value)


def either(words: tuple[str | None, ...]) -> str:
    """Write words as a choice: None, "a" or "b"."""
    quoted = ["None" if word is None else f'"{word}"' for word in words]
    return " or ".join([", ".join(quoted[:-1]), quoted[-1]]) if len(quoted) > 1 else quoted[0]


def feedback(name: str, value: Any) -> dict[str, str]:
    """Return the feedback of each decoder."""
    both = DECODERS["both"]
    if isinstance(value, str):
        value = dict.fromkeys(both, value)
    elif not isinstance(value, Mapping) or not set(value) <= set(both):
        raise ArgumentError(
            f"{name} must be one word, or a dict with the keys reconstruct and predict, "
            f"got {value!r}"
        )
    check = Word(WORDS["feedback"])
    return {decoder: str(check(name, value.get(decoder, "output"))) for decoder in both}


def loss_weights(name: str, value: Any) -> tuple[float, float]:
    """Return the weights of both decoders' losses."""
    try:
        first, second = value
    except (TypeError, ValueError):
        raise ArgumentError(f"{name} must be two numbers, got {value!r}") from None
    weights = number(name, first), number(name, second)
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights) or not any(weights):
        raise ArgumentError(
            f"{name} must be two finite numbers of at least 0, one of them above 0, got {value!r}"
        )
    return weights


def random_seed(name: str, random_state: Any) -> int:
    """Return the seed of a training; a generator or None draws one."""
    if isinstance(random_state, int | np.integer) and not isinstance(random_state, bool):
        if random_state < 0:
            raise ArgumentError(f"{name} must be at least 0, got {random_state}")
        return int(random_state) % 2**64
    try:
        return int(check_random_state(random_state).randint(2**31))
    except ValueError:
        raise ArgumentError(
            f"{name} must be None, an int or a RandomState, got {random_state!r}"
        ) from None


def _unchecked(_: str, value: Any) -> Any:
    """Accept any value. `random_seed` checks the seed once a training, as the check may draw it."""
    return value


# -- the table -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parameter:
    """One parameter of `Model` or `Classifier`, with one line of its meaning."""

    name: str
    default: Any
    check: Check
    meaning: str
    # The settings of the engine that take the value as it is; None if none do.
    of: Literal["Architecture", "Init", "Training"] | None = None

    @property
    def words(self) -> tuple[str | None, ...]:
        """The words, if the check is a `Word`; else empty."""
        return self.check.words if isinstance(self.check, Word) else ()


_FROM_0 = Number("a finite number of at least 0", lambda x: math.isfinite(x) and x >= 0)

_TABLE = [
    # The architecture.
    Parameter("hidden_size", 256, Whole(1), "units of every LSTM layer", "Architecture"),
    Parameter("num_layers", 1, Whole(1), "LSTM layers of encoder and decoders", "Architecture"),
    Parameter("peepholes", False, flag, "whether the gates see the cell", "Architecture"),
    Parameter("decoders", "both", Word(tuple(DECODERS)), "which decoders the model has"),
    Parameter("feedback", "output", feedback, "what a decoder gets as input"),
    Parameter("loss", "mse", Word(WORDS["loss"]), "the loss of each decoder", "Architecture"),
    # Input and output.
    Parameter("horizon", None, Optional(Whole(0)), "number of future frames in a window"),
    Parameter("pooling", "last", Word(("last", "mean")), "which states an embedding is made of"),
    Parameter("scale", None, Word((None, "standard", "minmax")), "how numbers are scaled"),
    Parameter("train", "all", Word(("all", "head")), "which weights a classifier trains"),
    # The first weights.
    Parameter("forget_bias", 1.0, Optional(Number()), "first bias of the forget gates", "Init"),
    Parameter("init", "pytorch", Word(WORDS["init"]), "how the first weights are drawn", "Init"),
    Parameter("random_state", None, _unchecked, "seed of all random numbers"),
    # The training.
    Parameter("loss_weights", (1.0, 1.0), loss_weights, "weights of both losses", "Training"),
    Parameter(
        "dropout",
        0.0,
        Number("at least 0 and below 1", lambda x: 0 <= x < 1),
        "probability of dropping a unit between layers",
        "Training",
    ),
    Parameter("optimizer", "adam", Word(WORDS["optimizer"]), "the optimizer", "Training"),
    Parameter("learning_rate", 3e-3, _FROM_0, "step size", "Training"),
    Parameter("weight_decay", 0.0, _FROM_0, "L2 penalty or decoupled decay", "Training"),
    Parameter(
        "max_grad_norm",
        1.0,
        Optional(Number("None or above 0", lambda x: x > 0)),
        "largest norm of the gradient",
        "Training",
    ),
    Parameter(
        "schedule",
        "cosine",
        Word((None, *WORDS["schedule"])),
        "the learning rate over the updates",
        "Training",
    ),
    Parameter("warmup", 0, Whole(0), "updates over which the learning rate rises", "Training"),
    Parameter("batch_size", 32, Whole(1), "windows in an update, or in inference", "Training"),
    Parameter("max_iter", 1000, Whole(1), "updates of the weights in `fit`"),
    Parameter("patience", None, Optional(Whole(1)), "reports without a better validation loss"),
    Parameter("warm_start", False, _unchecked, "whether `fit` continues from the present weights"),
    # The machine.
    Parameter("device", "auto", text, "device of the model"),
    Parameter(
        "precision",
        "auto",
        Word(WORDS["precision"]),
        "what the factors of matrix products are rounded to",
    ),
    Parameter("num_threads", None, Optional(Whole(1, 1024)), "threads of the CPU"),
    Parameter("verbose", 1, _unchecked, "0 is silent, 1 shows a progress bar"),
]

PARAMETERS = {parameter.name: parameter for parameter in _TABLE}
"""All parameters by their names."""


def value(estimator: Any, name: str) -> Any:
    """Return an estimator's parameter as the engine takes it, or raise `ArgumentError`."""
    return PARAMETERS[name].check(name, getattr(estimator, name))


def values(estimator: Any, *names: str) -> dict[str, Any]:
    """Return several parameters as the engine takes them."""
    return {name: value(estimator, name) for name in names}


def names_of(estimator: Any, of: str) -> list[str]:
    """Return the parameters of an estimator that these settings of the engine take."""
    return [name for name, p in PARAMETERS.items() if p.of == of and hasattr(estimator, name)]


def values_of(estimator: Any, of: str) -> dict[str, Any]:
    """Return the estimator's part of these settings of the engine."""
    return values(estimator, *names_of(estimator, of))


def steps_or_horizon(steps: int | None, horizon: int | None) -> int:
    """Return the number of frames to predict."""
    if steps is not None:
        return integer("steps", steps, least=1)
    if not horizon:
        raise ArgumentError("steps must be given, as the model was fitted without a horizon")
    return horizon


def check_decoder(decoder: str, decoders: str) -> None:
    """Refuse a decoder that a model with this parameter `decoders` lacks."""
    Word(DECODERS["both"])("decoder", decoder)
    if decoder not in DECODERS[PARAMETERS["decoders"].check("decoders", decoders)]:
        raise DecoderError(
            f"the model has no {decoder} decoder (decoders={decoders!r}); fit one with "
            f'decoders="both" or "{decoder}"'
        )


def check(estimator: Any) -> None:
    """Check every parameter of an estimator.

    Raises
    ------
    ArgumentError
        If one is out of its range; the message names it, the range and the value.
    """
    for name in estimator.get_params(deep=False):
        if name in PARAMETERS:
            value(estimator, name)
