"""What the figures were measured on: processor or GPU, versions, memory on the device."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path


def device_name(device: str) -> str:
    """The processor with its number of usable cores, or the GPU."""
    if device == "cuda":
        return _nvidia_smi("name")
    name = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            name = line.partition(":")[2].strip()
            break
    cores = len(os.sched_getaffinity(0))
    return f"{name}, {cores} core{'s' if cores > 1 else ''}"


def instruction_set() -> str:
    """The one that backcast's kernels use, which the variable BACKCAST_ISA may lower."""
    asked = os.environ.get("BACKCAST_ISA")
    if asked == "portable":
        return "portable"
    if platform.machine() in ("aarch64", "arm64"):
        return "NEON"
    flags = Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split()
    if "avx512f" in flags and asked != "avx2":
        return "AVX-512"
    return "AVX2" if {"avx2", "fma"} <= set(flags) else "portable"


def has_gpu() -> bool:
    """Whether there is a GPU that its driver knows."""
    try:
        return bool(_nvidia_smi("name"))
    except (OSError, subprocess.CalledProcessError):
        return False


def used_on_gpu() -> int:
    """Bytes in use on the GPU, by whomever."""
    return int(_nvidia_smi("memory.used")) * 2**20


def versions(*packages: str) -> dict[str, str]:
    """Of Python and of every package that takes part and is installed."""
    found = {"python": platform.python_version()}
    for name in packages or ("backcast", "torch", "jax", "jaxlib", "numpy"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _nvidia_smi(field: str) -> str:
    """One field of the first GPU."""
    command = ["nvidia-smi", "-i", "0", f"--query-gpu={field}", "--format=csv,noheader,nounits"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
