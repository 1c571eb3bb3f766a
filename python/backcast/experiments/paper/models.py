"""The models of the paper and the sizes at which they are trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

FEED = "output"
"""Default input of a conditional decoder in training: the one that measured best."""

NOTE = "as reported: recalled, not checked against the paper's PDF, and of the paper's own data"
"""A caveat on every number that the paper reports."""


@dataclass(frozen=True)
class Row:
    """One model of the paper.

    Attributes
    ----------
    title : str
        The paper's name for it.
    decoders : str
        As the parameter of `backcast.Model`.
    conditional : tuple of str
        Decoders that are fed frames; the others are fed nothing.
    reported : dict of float
        The paper's error of the future, per frame, by training data; recalled.
    """

    title: str
    decoders: str
    conditional: tuple[str, ...] = ()
    reported: Mapping[str, float] | None = None

    def parameters(self, size: Size, feed: str, peepholes: bool, seed: int) -> dict[str, Any]:
        """Return the parameters of the `backcast.Model` to train.

        Parameters
        ----------
        size : Size
            The size of the model.
        feed : str
            Input of the conditional decoders in training.
        peepholes : bool
            As the parameter of `backcast.Model`.
        seed : int
            The parameter `random_state`.

        Returns
        -------
        dict
            Keyword arguments of `backcast.Model`.
        """
        decoders = ("reconstruct", "predict") if self.decoders == "both" else (self.decoders,)
        feedback = {name: feed if name in self.conditional else "none" for name in decoders}
        return dict(size.model) | {
            "decoders": self.decoders,
            "feedback": feedback,
            "horizon": size.future if "predict" in decoders else 0,
            "peepholes": peepholes,
            "random_state": seed,
        }


MODELS = {
    "future-predictor": Row(
        "Future Predictor", "predict", reported={"digits": 350.2, "patches": 225.2}
    ),
    "composite": Row("Composite", "both", reported={"digits": 344.9, "patches": 210.7}),
    "conditional-future-predictor": Row(
        "Conditional Future Predictor",
        "predict",
        ("predict",),
        reported={"digits": 343.5, "patches": 221.3},
    ),
    "conditional-composite": Row(
        "Composite with Conditional Future Predictor",
        "both",
        ("predict",),
        reported={"digits": 341.2, "patches": 208.1},
    ),
    "autoencoder": Row("Autoencoder", "reconstruct"),
    "conditional-autoencoder": Row("Conditional Autoencoder", "reconstruct", ("reconstruct",)),
}
"""The models: the four of the paper's table, and the autoencoder alone."""


@dataclass(frozen=True)
class Size:
    """Training data, size of the model, and parameters of the training.

    Attributes
    ----------
    name : str
        "full" is the paper's.
    on : {"digits", "patches"}
        Two moving digits, or patches of videos.
    past, future : int
        Frames of a window.
    side : int
        Side of a frame, in pixels. A patch is cut from its video, not scaled.
    test_windows : int
        Windows of the test set.
    chunk : int
        Updates whose windows are drawn together, from one seed.
    updates : int
        Default number of updates.
    model : dict
        Parameters of `backcast.Model`.
    digit : int, default=28
        Side of a digit, in pixels.
    grey : bool, default=True
        Whether patches are grey.
    pool : int, default=20_000
        Most patches to train on; they are held in memory.
    """

    name: str
    on: Literal["digits", "patches"]
    past: int
    future: int
    side: int
    test_windows: int
    chunk: int
    updates: int
    model: Mapping[str, Any]
    digit: int = 28
    grey: bool = True
    pool: int = 20_000


_FULL = {
    "hidden_size": 2048,
    "num_layers": 2,
    "forget_bias": 1.0,
    "learning_rate": 5e-4,
    "schedule": "cosine",
    "max_grad_norm": 1.0,
    "batch_size": 128,
}
_SMALL = _FULL | {"hidden_size": 256, "num_layers": 1, "learning_rate": 2e-3, "batch_size": 64}
_QUICK = _SMALL | {"hidden_size": 16, "batch_size": 8}
_BCE, _MSE = {"loss": "bce"}, {"loss": "mse"}

_SIZES = (
    Size("full", "digits", 10, 10, 64, 10_000, 16, 20_000, _FULL | _BCE),
    Size("small", "digits", 10, 10, 32, 2_000, 32, 6_000, _SMALL | _BCE, digit=14),
    Size("quick", "digits", 10, 10, 32, 50, 4, 20, _QUICK | _BCE, digit=14),
    Size("full", "patches", 16, 13, 32, 5_000, 16, 20_000, _FULL | _MSE, grey=False),
    Size("small", "patches", 16, 13, 16, 2_000, 32, 6_000, _SMALL | _MSE | {"hidden_size": 128}),
    Size("quick", "patches", 16, 13, 16, 50, 4, 20, _QUICK | _MSE, pool=500),
)
SIZES = {(size.on, size.name): size for size in _SIZES}
"""The sizes, by training data and name: "full" (the paper's), "small" and "quick"."""
