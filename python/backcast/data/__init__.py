"""Windows to train on: moving digits, files of digits, long series, tables, real video.

A *window* is a run of frames, ``past`` and then ``future``. Windows are one array of shape
``(n_windows, n_frames, *frame_shape)``, as `backcast.Model.fit` takes it; windows of a table are
`Windows`, which know their times.
"""

from backcast.data.mnist import Digits, digits, moving_mnist_test, read_idx
from backcast.data.moving import moving_digits, resize_digits
from backcast.data.series import Windows, windows
from backcast.data.videos import sample_videos, video, video_files

__all__ = [
    "Digits",
    "Windows",
    "digits",
    "moving_digits",
    "moving_mnist_test",
    "read_idx",
    "resize_digits",
    "sample_videos",
    "video",
    "video_files",
    "windows",
]


def __dir__() -> list[str]:
    """List the public names, for completion."""
    return [*__all__]
