"""Set up before anything is imported."""

import os
import signal

# Models of a few units gain nothing from a second thread and lose much where cores are shared;
# tests that want threads ask for them with `num_threads`.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell that starts a command in the background lets it ignore Ctrl-C; some tests press it.
signal.signal(signal.SIGINT, signal.default_int_handler)
