"""Batches of training windows, drawn in threads while a model trains."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from backcast.experiments.paper._sources import TRAINING, Bytes, Source
from backcast.experiments.paper._windows import sides
from backcast.experiments.paper.models import Size


class Batches:
    """An iterable of batches, one for each update; a batch depends on its number alone.

    The windows of `size.chunk` updates are drawn together, from a seed with the number of the first
    of them.

    Parameters
    ----------
    source : Source
        Draws the windows.
    size : Size
        Frames of a window, and updates in a chunk.
    seed : int
        The seed of the training.
    decoders : str
        The model's parameter: whether there is a future.
    batch_size : int
        Windows in a batch.
    updates : int
        Number of batches.
    """

    def __init__(
        self, source: Source, size: Size, *, seed: int, decoders: str, batch_size: int, updates: int
    ) -> None:
        self.source, self.size, self.seed = source, size, seed
        self.decoders, self.batch_size, self.updates = decoders, batch_size, updates

    def __iter__(self) -> Generator[tuple[Bytes, ...], None, None]:
        """Go through all batches."""
        return self.from_batch(0)

    def from_batch(self, k: int) -> Generator[tuple[Bytes, ...], None, None]:
        """Go through the batches from number k on: (past, future), or (past,) without a future."""
        chunk, n = self.size.chunk, self.batch_size
        skipped = k % chunk
        # One thread draws windows faster than a GPU trains on them; a second one leaves a margin.
        workers = 2 if len(os.sched_getaffinity(0)) >= 4 else 1
        pending: deque[Future[Bytes]] = deque()
        pool = ThreadPoolExecutor(workers)
        try:
            for first in range(k - skipped, self.updates, chunk):
                pending.append(pool.submit(self._draw, first))
                if len(pending) > workers:
                    windows = pending.popleft().result()
                    yield from self._cut(windows[skipped * n :])
                    skipped = 0
            while pending:
                yield from self._cut(pending.popleft().result()[skipped * n :])
                skipped = 0
        finally:
            pool.shutdown(cancel_futures=True)

    def _draw(self, first: int) -> Bytes:
        rng = np.random.default_rng((TRAINING, self.seed, first))
        n_updates = min(self.size.chunk, self.updates - first)
        return self.source.draw(n_updates * self.batch_size, rng)

    def _cut(self, windows: Bytes) -> Generator[tuple[Bytes, ...], None, None]:
        for first in range(0, len(windows), self.batch_size):
            batch = windows[first : first + self.batch_size]
            yield sides(self.decoders, batch, self.size.past)
