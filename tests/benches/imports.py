"""How long `import backcast` takes above `import sklearn.base`, each time in a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from typing import Any

from rounds import interleaved

# What is imported before the clock starts, and what is timed.
IMPORTS = {
    "sklearn.base": ("", "sklearn.base"),
    "backcast": ("import sklearn.base", "backcast"),
    "torch": ("", "torch"),
    "jax": ("", "jax"),
}
PROGRAM = """
import json, sys, time
{before}
start, cpu_start = time.perf_counter(), time.process_time()
import {name}
times = time.perf_counter() - start, time.process_time() - cpu_start
print(json.dumps({{"times": times, "torch": "torch" in sys.modules}}))
"""


def measure(rounds: int) -> dict[str, Any]:
    """Seconds by package, and whether backcast's import brought torch's Python in."""
    # Once untimed: byte code is written and files come into the page cache.
    first = {name: once(name) for name in IMPORTS}
    present = {name: lambda name=name: once(name)["times"] for name in IMPORTS if first[name]}
    return {
        "seconds": {name: times.wall for name, times in interleaved(present, rounds).items()},
        "imports_torch": first["backcast"]["torch"],
    }


def once(name: str) -> dict[str, Any]:
    """Import in a fresh process; nothing if it is not installed."""
    before, timed = IMPORTS[name]
    environment = os.environ.copy()
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(before=before, name=timed)],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
        )
    return json.loads(done.stdout) if done.returncode == 0 else {}
