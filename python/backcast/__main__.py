"""``python -m backcast``, and the command ``backcast``."""

import sys

from backcast.experiments.cli import main

if __name__ == "__main__":
    sys.exit(main())
