# SPDX-License-Identifier: Apache-2.0
"""`python -m gradstep train` is the same as `gradstep train`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
