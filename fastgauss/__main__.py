"""``python -m fastgauss``: the same as the command ``fastgauss``."""

import sys

from .cli import main

sys.exit(main())
