"""The composite autoencoder as an estimator: parameters and training of `Model`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backcast._engine.columns import floats, is_iterable
from backcast._engine.scale import Scale, learn
from backcast._estimator.base import Estimator
from backcast._estimator.files import Contents
from backcast._estimator.fitted import Fitted
from backcast._parameters import DECODERS, LOSS_RANGES, check, value, values_of
from backcast._training import baselines
from backcast._training.advice import (
    Comparison,
    advise_on_baselines,
    advise_on_outputs,
    advise_on_scale,
    advise_on_units,
    enough,
)
from backcast._training.batches import Batches, pair
from backcast._training.hooks import Callback
from backcast._training.windows import Pair, hold_out, is_part, pair_of, validation_pair
from backcast.errors import ArgumentError, ShapeError

# Windows that the advice looks at.
_SOME = 64


class CompositeEstimator(Estimator):
    """An estimator of past and future frames."""

    # Parameters that `Model` has.
    decoders: str
    loss: str
    scale: str | None
    max_iter: int
    warm_start: bool

    # Whether the warning about steps beyond the horizon was given.
    _warned_horizon: bool = False

    @property
    def horizon_(self) -> int | None:
        """Number of future frames that the model was fitted on."""
        return self._record().horizon

    @property
    def baselines_(self) -> dict[str, float]:
        """Losses of simple models on windows that the last fit was compared on."""
        return dict(self._record().baselines or {})

    # -- training ----------------------------------------------------------------------------------

    def _fit(
        self,
        past: Any,
        future: Any,
        validation: Any,
        callback: Callback | None,
        checkpoint: Any,
        minutes: float,
    ) -> None:
        """Train on windows, or on an iterable of batches, for `max_iter` updates."""
        self._compare_given(past, future, validation=validation, checkpoint=checkpoint)
        check(self)
        windows, batches = self._given(past, future, proceed=self.warm_start)
        windows, held_out = self._hold_out(past, windows, validation, batches)
        n = self._count(windows, batches)
        resumed = self._resume(checkpoint, windows, n)
        if resumed is None:
            self._prepare(windows, batches, proceed=self.warm_start)
        else:
            self._record().check_frames(*windows)
        resumed = self._unite(resumed)
        hooks = self._hooks(self._validate(held_out), callback, checkpoint, minutes, resumed)
        if hooks.done:
            return
        first = self._plan()
        if resumed is None and not first and enough(self._record().end):
            self._advise_on_units(windows, held_out)
        self._remember(windows, windows=n)
        source, until = self._source(windows, batches), self._record().end
        looks = batches is None and windows.is_checked_first
        own = self._own_batches(n)
        self._train(source, until=until, hooks=hooks, check=looks, batches=own)
        if self._group.rank == 0 and enough(self.n_iter_ - first):
            self._advise(windows, held_out)

    def _one_pass(self, past: Any, future: Any) -> None:
        """Train for one pass over windows or batches, from the present weights."""
        self._compare_given(past, future)
        check(self)
        windows, batches = self._given(past, future, proceed=True)
        n = self._count(windows, batches)
        self._prepare(windows, batches, proceed=True)
        self._unite(None)
        self._remember(windows, windows=None)
        last = None if n is None else self.n_iter_ + math.ceil(n / value(self, "batch_size"))
        looks = batches is None and windows.is_checked_first
        source, own = self._source(windows, batches), self._own_batches(n)
        self._train(source, until=None, last=last, check=looks, batches=own)

    def _compare_given(self, past: Any, future: Any, **others: Any) -> None:
        """Refuse arguments that other processes of the group do not have."""
        given = {"future": future, **others}
        words = {name: None if each is None else "given" for name, each in given.items()}
        self._compare(past="an iterable" if is_iterable(past) else "windows", **words)

    def _count(self, windows: Pair, batches: Batches | None) -> int | None:
        """Return the number of windows in all processes, which must fit; None for batches."""
        own = batches is not None or not self._group.shared
        n = self._compare_windows(windows, numbers=not own)
        return n if batches is None else None

    def _given(self, past: Any, future: Any, *, proceed: bool) -> tuple[Pair, Batches | None]:
        """Return the windows to train on; for an iterable, its first batch and the iterable."""
        if not is_iterable(past):
            return self._pair(past, future, proceed=proceed), None
        if future is not None:
            raise ArgumentError(
                "future must be None with an iterable of batches: each is an array or a pair "
                "(past, future)"
            )
        batches = Batches(past)
        return self._pair(*pair(batches.first), proceed=proceed), batches

    def _pair(self, past: Any, future: Any, *, proceed: bool) -> Pair:
        horizon = value(self, "horizon")
        fitted = self._fitted if proceed else None
        cut = fitted.horizon if fitted is not None and horizon is None else horizon
        whole = 'decoders="reconstruct" takes windows that are all past'
        if horizon == 0 and self._predicts():
            raise ArgumentError(
                f"horizon must be at least 1 with decoders={self.decoders!r}, got 0: {whole}"
            )
        windows = pair_of(past, future, cut, predicts=self._predicts(), asked=horizon)
        if self._predicts() and windows.lengths[1] == 0:
            raise ShapeError(f"future must have at least 1 frame, got 0: {whole}")
        return windows

    def _hold_out(
        self, past: Any, windows: Pair, validation: Any, batches: Batches | None
    ) -> tuple[Pair, Pair | None]:
        """Return the windows to train on, and those held out."""
        if validation is None:
            return windows, None
        if not is_part(validation):
            return windows, validation_pair(validation, windows, predicts=self._predicts())
        if batches is not None:
            raise ArgumentError(
                "validation must be windows with an iterable of batches, which cannot be divided, "
                f"got {validation}"
            )
        return hold_out(past, windows, float(validation))

    def _prepare(self, windows: Pair, batches: Batches | None, *, proceed: bool) -> None:
        """Draw new weights, unless a fitted model is trained further."""
        if proceed and self._fitted is not None:
            self._current()
        else:
            self._fitted = self._start(windows, batches)
        self._record().check_frames(*windows)

    def _start(self, windows: Pair, batches: Batches | None) -> Fitted:
        """Return the record of a model that was never trained."""
        if LOSS_RANGES[self.loss] and self.scale == "standard":
            raise ArgumentError(
                f'scale must be None or "minmax" with loss="{self.loss}", got "standard"'
            )
        shape = windows.pasts.frame_shape
        architecture = self._architecture(math.prod(shape))
        self._check_memory(architecture, windows)
        return self._new(
            architecture,
            shape,
            scale=self._learn_scale(windows, batches),
            scaled=any(side is not None and side.is_bytes for side in windows),
            horizon=windows.lengths[1],
            columns=windows.pasts.columns,
        )

    def _learn_scale(self, windows: Pair, batches: Batches | None) -> Scale | None:
        """Learn the scaling from all windows, or in a pass over all batches."""
        if self.scale is None:
            return None
        size = math.prod(windows.pasts.frame_shape)
        if batches is None:
            return learn(self.scale, size, windows.cut(self._part(windows)), self._group.all)
        pairs = (self._pair(*pair(batch), proceed=False) for batch in batches.whole_pass())
        sides = (side for each in pairs for side in each)
        return learn(self.scale, size, sides, self._group.all)

    def _source(
        self, windows: Pair, batches: Batches | None
    ) -> tuple[Any, Any, None] | Callable[[], Any]:
        """Return the training data as the engine takes it."""
        fitted = self._record()

        def columns(windows: Pair) -> tuple[Any, Any, None]:
            return (*fitted.engine_columns(*windows, targets=True), None)

        def of_batch(batch: Any) -> tuple[Any, Any, None]:
            windows = self._pair(*pair(batch), proceed=True)
            fitted.check_frames(*windows)
            return columns(windows)

        if batches is None:
            return columns(windows)
        return batches.source(fitted.core.progress[2], of_batch)

    def _validate(self, held_out: Pair | None) -> Callable[[], dict[str, float]] | None:
        """Return a function that computes the losses on held-out windows."""
        if held_out is None:
            return None
        fitted = self._record()
        fitted.check_frames(*held_out)
        group = self._group
        self._compare_windows(held_out, numbers=group.shared)
        columns = fitted.engine_columns(*held_out, targets=True)

        def validate() -> dict[str, float]:
            losses = fitted.core.losses(
                *columns, None, self._inference(silent=True), group.engine, shared=group.shared
            )
            return {"loss": self._total(losses)} | losses

        return validate

    def _plan(self) -> int:
        """Set the last update; return the number of updates so far. An unfinished plan stays."""
        fitted = self._record()
        done = fitted.core.progress[0]
        if done >= fitted.end:
            self._change(end=done + value(self, "max_iter"))
        return done

    def _advise_on_units(self, windows: Pair, held_out: Pair | None) -> None:
        """Warn before a long training if some windows are far from unit scale."""
        fitted = self._record()

        def rows(windows: Pair) -> NDArray[np.float64]:
            pasts = windows.some(_SOME).pasts
            frames = pasts.frames if isinstance(pasts.frames, list) else [pasts.array()]
            return np.concatenate([floats(each).reshape(-1, fitted.frame_size) for each in frames])

        columns = windows.pasts.columns
        if fitted.scale is not None:
            advise_on_scale(fitted.scale, columns)
            if held_out is not None:
                advise_on_scale(fitted.scale, columns, rows(held_out))
        elif self.loss == "mse" and not windows.pasts.is_bytes:
            advise_on_units(rows(windows), columns)

    def _advise(self, windows: Pair, held_out: Pair | None) -> None:
        """Warn if a decoder has nearly one output for all windows, or is no better than a baseline.

        Up to 64 held-out windows are looked at, or else windows of the training.
        """
        some = windows.some(_SOME)
        same = self._advise_on_outputs(some)
        where = "training windows"
        if held_out is not None:
            some, where = held_out.some(_SOME), "held-out windows"
        fitted, simple = self._record(), self._baselines(some)
        columns = fitted.engine_columns(*some, targets=True)
        losses = fitted.core.losses(*columns, None, self._inference(silent=True))
        self._change(baselines=simple)
        names = baselines.names_of(self.loss)
        errors = [
            Comparison(decoder, loss, names[decoder], simple[decoder])
            for decoder, loss in losses.items()
        ]
        if not same:
            advise_on_baselines(
                errors,
                where,
                "more updates (max_iter), a larger learning_rate, "
                'feedback="none", more windows, or windows of another length',
            )

    def _baselines(self, windows: Pair) -> dict[str, float]:
        """Return the loss of the simple model that each decoder is compared with."""
        found = baselines.losses_of(windows, self.loss, self._record().scale)
        return {decoder: found[decoder] for decoder in self._present() if decoder in found}

    def _advise_on_outputs(self, some: Pair) -> bool:
        """Warn if a decoder has nearly the same output for all of some windows."""
        fitted = self._record()
        column = fitted.past(some.pasts)
        found: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {}
        for decoder, side in (("predict", some.futures), ("reconstruct", some.pasts)):
            if side is None or side.ragged or not fitted.has(decoder):
                continue
            targets = side.array()
            steps = targets.shape[1]
            if not steps:
                continue
            made = fitted.core.generate(column, decoder, steps, self._inference(silent=True))
            found[decoder] = fitted.frames(made, decoder), floats(targets)
        return advise_on_outputs(found)

    # -- parameters, as the engine takes them ------------------------------------------------------

    def _architecture(self, frame_size: int) -> dict[str, Any]:
        present, feedback = self._present(), value(self, "feedback")
        return values_of(self, "Architecture") | {
            "frame_size": frame_size,
            "feedback": [feedback[d] if d in present else None for d in DECODERS["both"]],
            "classes": None,
        }

    def _restored(self, contents: Contents) -> Fitted:
        fitted = contents.fitted
        return self._new_from(
            contents, horizon=fitted["horizon"], baselines=fitted.get("baselines")
        )

    def _total(self, losses: dict[str, float]) -> float:
        """Return the weighted sum of the decoders' losses."""
        weights = dict(zip(DECODERS["both"], value(self, "loss_weights"), strict=True))
        return float(sum(weights[name] * loss for name, loss in losses.items()))

    def _present(self) -> tuple[str, ...]:
        """Return the decoders that `decoders` asks for."""
        return DECODERS[value(self, "decoders")]

    def _predicts(self) -> bool:
        return "predict" in self._present()

    def _gradients(
        self,
        past: Any,
        future: Any = None,
        *,
        double: bool = True,
        truth_probability: float = 1.0,
    ) -> tuple[dict[str, float], dict[str, Any], dict[str, Any]]:
        """Make one training pass over all windows as one batch, for tests.

        Returns the losses, the gradients of their weighted sum, and the input of each decoder.
        """
        fitted = self._current()
        windows = pair_of(past, future, fitted.horizon, predicts=self._predicts())
        columns = fitted.engine_columns(*windows, targets=True)
        return fitted.core.gradients(*columns, None, self._settings(), truth_probability, double)
