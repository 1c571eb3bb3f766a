"""Set up before anything is imported."""

import os

# Models of a few units gain nothing from a second thread and lose much where cores are shared;
# tests that want threads ask for them with `num_threads`.
os.environ.setdefault("OMP_NUM_THREADS", "1")
