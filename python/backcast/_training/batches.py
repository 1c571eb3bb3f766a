"""An iterable of batches as a source of updates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Any

import numpy as np

from backcast.errors import ArgumentError, DataError


class Batches:
    """Reads an iterable of batches, pass by pass.

    To start at batch k of a pass, it calls the iterable's method ``from_batch(k)``, which returns
    an iterator; without such a method it reads and drops the first k batches.

    Parameters
    ----------
    batches : iterable
        Arrays or pairs (past, future).
    """

    def __init__(self, batches: Iterable[Any]) -> None:
        self._batches = batches
        self._pass = iter(batches)
        try:
            self.first = next(self._pass)
        except StopIteration:
            raise DataError("past must hold at least one batch, got an empty iterable") from None
        self._pass = chain([self.first], self._pass)

    @property
    def again(self) -> bool:
        """Whether it can be iterated more than once."""
        return not isinstance(self._batches, Iterator)

    def whole_pass(self) -> Iterator[Any]:
        """Iterate over all batches once, apart from the passes of the training."""
        if not self.again:
            raise ArgumentError(
                "scale must be None with an iterator of batches: it is learnt in a pass of its "
                "own, and an iterator has one pass. Give an iterable that starts again, as a "
                "DataLoader does, or scale the numbers before"
            )
        return iter(self._batches)

    def source(self, start: int, convert: Callable[[Any], Any]) -> Callable[[], Any]:
        """Return a function that returns the next converted batch, or None at the end of a pass.

        Parameters
        ----------
        start : int
            Batches of the present pass that were used before.
        convert : callable
            Converts a batch for the engine.
        """
        from_batch = getattr(self._batches, "from_batch", None)
        if start and from_batch is not None:
            self._pass = iter(from_batch(start))
        else:
            self._pass = islice(self._pass, start, None)

        def next_batch() -> Any:
            for batch in self._pass:
                return convert(batch)
            self._pass = iter(self._batches)
            return None

        return next_batch


def pair(batch: Any) -> tuple[Any, Any]:
    """Return past and future of a batch; loaders also give pairs and single arrays as lists."""
    if isinstance(batch, tuple | list) and len(batch) == 1:
        return batch[0], None
    if isinstance(batch, tuple | list) and len(batch) == 2:
        first, second = (np.shape(side) for side in batch)
        if isinstance(batch, tuple) or (len(first) > 2 and first[:1] == second[:1]):
            return batch[0], batch[1]
    return batch, None
