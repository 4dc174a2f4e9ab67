"""``python -m gradcheck_fast``."""

import sys

from gradcheck_fast.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
