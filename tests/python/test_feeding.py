"""Batches from a mapped file: the numbers of an array in memory, in bounded memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from backcast import Model
from backcast.errors import DataError

WORK = '''
import sys
import numpy as np
from backcast import Model

def resident():
    """Megabytes of the file that are mapped and resident."""
    kilobytes, ours = 0, False
    with open("/proc/self/smaps") as maps:
        for line in maps:
            if "-" in line.split()[0]:
                ours = line.rstrip().endswith(sys.argv[1])
            elif ours and line.startswith("Rss:"):
                kilobytes += int(line.split()[1])
    return kilobytes / 1024

windows = np.memmap(sys.argv[1], dtype=np.uint8, mode="r", shape=(16000, 20, 32, 32))
model = Model(hidden_size=4, batch_size=100, max_iter=160, device="cpu", verbose=0, random_state=0)
most = 0.0
def watch(function):
    def watched(*arguments):
        global most
        most = max(most, resident())
        return function(*arguments)
    return watched

from backcast._training import progress as _progress
_progress.Progress.on_report = watch(_progress.Progress.on_report)
model.fit(windows)
assert len(model.encode(windows)) == 16000
print(max(most, resident()))
'''


def test_a_mapped_file_several_times_the_bound_stays_out_of_memory(tmp_path: Path) -> None:
    # 328 MB of bytes in small windows, every one of them read twice.
    path = tmp_path / "windows.u8"
    windows = np.memmap(path, dtype=np.uint8, mode="w+", shape=(16000, 20, 32, 32))
    windows[:] = np.arange(32, dtype=np.uint8)
    windows.flush()
    del windows
    ran = subprocess.run(
        [sys.executable, "-c", WORK, str(path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )
    assert 0.0 < float(ran.stdout) < 120.0, "megabytes of the file that stayed resident"


def test_a_mapped_file_gives_the_numbers_of_an_array(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 256, size=(40, 6, 8, 8), dtype=np.uint8)
    path = tmp_path / "windows.npy"
    np.save(path, array)
    fitted = [
        Model(hidden_size=8, max_iter=5, device="cpu", verbose=0, random_state=0).fit(windows)
        for windows in (array, np.load(path, mmap_mode="r"), np.load(path, mmap_mode="c"))
    ]
    for model in fitted[1:]:
        for name, weight in fitted[0].state_dict().items():
            np.testing.assert_array_equal(model.state_dict()[name], weight, err_msg=name)


def test_what_was_written_into_a_private_map_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "windows.u8"
    shape = (1000, 20, 64, 64)
    np.memmap(path, dtype=np.uint8, mode="w+", shape=shape).flush()
    windows = np.memmap(path, dtype=np.uint8, mode="c", shape=shape)
    windows[::7] = 9
    Model(hidden_size=4, max_iter=20, device="cpu", verbose=0, random_state=0).fit(windows)
    assert (windows[::7] == 9).all()


def test_a_bad_window_far_into_a_mapped_file_ends_the_training_and_keeps_its_updates(
    tmp_path: Path,
) -> None:
    array = np.random.default_rng(0).random(size=(64, 6, 5), dtype=np.float32)
    path = tmp_path / "windows.npy"
    array[17, :3] = np.nan
    np.save(path, array)
    model = Model(
        hidden_size=8, batch_size=4, max_iter=100, device="cpu", verbose=0, random_state=0
    )
    with pytest.raises(DataError, match="NaN alone in window 17"):
        model.fit(np.load(path, mmap_mode="r"))
    assert 0 < model.n_iter_ < 16
    assert np.isfinite(model.encode(array[:10])).all()
    with pytest.raises(DataError, match="NaN alone in window 17"):
        model.fit(array)
    assert 0 < model.n_iter_ < 16
