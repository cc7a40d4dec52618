"""``python -m mmmask`` is the command ``mmmask``."""

import sys

from mmmask.front.main import main

if __name__ == '__main__':
    sys.exit(main())
