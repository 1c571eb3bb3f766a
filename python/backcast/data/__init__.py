"""Windows to train on: moving digits, the files that hold digits, a long series, real video.

A *window* is a run of frames, ``past`` then ``future``; windows come as one array of shape
``(n_windows, n_frames, *frame_shape)``, which `backcast.Model.fit` takes as it is, or, of a table,
as `Windows`, which know their times.
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
