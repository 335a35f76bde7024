"""``python -m fastgauss``: the same as the command ``fastgauss``."""

import sys

from .cli.command import main

sys.exit(main())
