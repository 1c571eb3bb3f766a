"""Files are saved whole or not at all, whoever saves at the same time and whatever goes wrong."""

import os
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from backcast import Model
from backcast._estimator import whole
from backcast.errors import FileFormatError
from small import X, assert_same_weights, small_model

SAVING = (
    "import sys, numpy as np; from backcast import Model\n"
    "x = np.zeros((4, 4, 1)); folder, seconds = sys.argv[1], float(sys.argv[2])\n"
    "model = Model(64, max_iter=1, device='cpu', verbose=0).fit(x)\n"
    "import time; end = time.monotonic() + seconds\n"
    "print('ready', flush=True)\n"
    "while time.monotonic() < end: model.save(folder + '/model')\n"
)


@pytest.fixture(scope="module")
def model() -> Model:
    return small_model().fit(X)


def saving(
    folder: Path, seconds: float = 60, before: tuple[str, ...] = ()
) -> subprocess.Popen[str]:
    """Start a process that saves without a pause."""
    command = [*before, sys.executable, "-c", SAVING, str(folder), str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def read_while(folder: Path, processes: list[subprocess.Popen[str]]) -> int:
    """Load the file again and again while others save it."""
    reads = 0
    while any(process.poll() is None for process in processes):
        if (folder / "model").exists():
            Model.load(folder / "model", device="cpu")
            reads += 1
    for process in processes:
        _, error = process.communicate(timeout=60)
        assert process.returncode == 0, error
    return reads


def test_two_threads_save_at_once(tmp_path: Path) -> None:
    models = [small_model(random_state=seed).fit(X) for seed in range(2)]
    errors: list[Exception] = []

    def save(model: Model) -> None:
        try:
            for _ in range(50):
                model.save(tmp_path / "model")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=save, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if (tmp_path / "model").exists():
            Model.load(tmp_path / "model", device="cpu")
    assert errors == []
    assert os.listdir(tmp_path) == ["model"]


def test_two_processes_save_at_once(tmp_path: Path) -> None:
    assert read_while(tmp_path, [saving(tmp_path, 2), saving(tmp_path, 2)])
    assert os.listdir(tmp_path) == ["model"]


def test_two_containers_with_the_same_numbers_of_processes_save_at_once(tmp_path: Path) -> None:
    space = ("unshare", "--pid", "--fork", "--kill-child")
    try:
        subprocess.run([*space, "true"], check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no container can be made here")
    assert read_while(tmp_path, [saving(tmp_path, 2, space), saving(tmp_path, 2, space)])
    assert os.listdir(tmp_path) == ["model"]


def test_what_killed_processes_left_is_removed(tmp_path: Path, model: Model) -> None:
    left_over = set()
    for _ in range(3):
        process = saving(tmp_path)
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        left_over |= set(os.listdir(tmp_path)) - {"model"}
        if (tmp_path / "model").exists():
            Model.load(tmp_path / "model", device="cpu")
    (tmp_path / f".backcast-{whole._machine()}-{16 * '0'}.tmp").touch()
    model.save(tmp_path / "other")
    assert sorted(os.listdir(tmp_path)) == ["model", "other"]


TRAINING = (
    "import sys, numpy as np; from backcast import Model\n"
    "x = np.sin(np.arange(20) / 3 + np.arange(30)[:, None])[..., None]\n"
    "model = Model(16, max_iter=int(sys.argv[2]), random_state=0, device='cpu', verbose=0)\n"
    "model.fit(x, checkpoint=sys.argv[1], checkpoint_minutes=0)\n"
    "print(*[float(array.sum()) for array in model.state_dict().values()])\n"
)


def test_a_training_that_is_killed_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    def training(name: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", TRAINING, str(tmp_path / name), "600"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    process = training("killed")
    while not (tmp_path / "killed").exists():
        time.sleep(0.001)
    process.kill()
    process.communicate(timeout=60)
    done = Model.load(tmp_path / "killed", device="cpu").n_iter_
    whole, resumed = [training(name).communicate(timeout=120)[0] for name in ("whole", "killed")]
    assert 0 < done < 600
    assert resumed == whole != ""


def test_only_left_over_files_of_ours_are_removed(tmp_path: Path, model: Model) -> None:
    others = (
        ".backcast.tmp",
        ".model.1.tmp",
        f".backcast-{8 * 'f'}-{16 * '0'}.tmp",
        "backcast-a.tmp",
    )
    for name in others:
        (tmp_path / name).touch()
    (tmp_path / f".backcast-{whole._machine()}-{16 * 'a'}.tmp").symlink_to(tmp_path / others[0])
    path, file = whole._temporary(tmp_path, 0o600)
    before = {*os.listdir(tmp_path)}
    with file:
        model.save(tmp_path / "model")
        assert path.exists()
    assert {*os.listdir(tmp_path)} == before | {"model"}
    # That of another machine is in use for a day.
    os.utime(tmp_path / others[2], (0, 0))
    model.save(tmp_path / "model")
    assert not (tmp_path / others[2]).exists()
    assert not path.exists()


def test_a_link_stays_a_link(tmp_path: Path, model: Model) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder/model")  # to nothing yet
    for _ in range(2):
        model.save(tmp_path / "link")
        assert (tmp_path / "link").is_symlink()
        assert_same_weights(Model.load(tmp_path / "folder" / "model", device="cpu"), model)
    assert sorted(os.listdir(tmp_path)) == ["folder", "link"]
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(OSError, match="round"):
        model.save(tmp_path / "round")


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_the_mode_of_the_old_file_is_kept(mode: int, tmp_path: Path, model: Model) -> None:
    model.save(tmp_path / "model")
    (tmp_path / "model").chmod(mode)
    model.save(tmp_path / "model")
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == mode


def test_a_new_file_has_the_mode_that_the_user_wants_for_files(
    tmp_path: Path, model: Model
) -> None:
    before = os.umask(0o027)
    try:
        model.save(tmp_path / "model")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == 0o640


@pytest.mark.parametrize("length", [240, 255])
def test_a_name_may_be_as_long_as_the_system_allows(
    length: int, tmp_path: Path, model: Model
) -> None:
    model.save(tmp_path / ("m" * length))
    assert_same_weights(Model.load(tmp_path / ("m" * length), device="cpu"), model)
    with pytest.raises(OSError, match="m" * 256):
        model.save(tmp_path / ("m" * 256))


def test_a_pipe_or_a_device_is_not_replaced(tmp_path: Path, model: Model) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(FileExistsError, match=path.name):
            model.save(path)
        with pytest.raises(FileFormatError, match=path.name):
            small_model().fit(X, checkpoint=path)
        assert not path.is_file()
    assert os.listdir(tmp_path) == ["pipe"]


def test_a_full_disk_keeps_the_old_file_and_the_training(tmp_path: Path) -> None:
    model = small_model().fit(X)
    model.save(tmp_path / "model")
    before = (tmp_path / "model").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))  # no file may be larger
    try:
        with pytest.raises(OSError, match="model"):
            model.save(tmp_path / "model")
        with pytest.warns(RuntimeWarning, match="the checkpoint could not be written"):
            small_model().fit(X, checkpoint=tmp_path / "checkpoint")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "model").read_bytes() == before
    assert os.listdir(tmp_path) == ["model"]


def test_a_full_file_system_keeps_the_old_file(tmp_path: Path, model: Model) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    try:
        subprocess.run(mount, check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no file system can be mounted here")
    try:
        model.save(tmp_path / "model")
        before = (tmp_path / "model").read_bytes()
        larger = small_model(hidden_size=100).fit(X)
        with pytest.raises(OSError, match="No space left on device.*model"):
            larger.save(tmp_path / "model")
        assert (tmp_path / "model").read_bytes() == before
        assert os.listdir(tmp_path) == ["model"]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True, timeout=60)
