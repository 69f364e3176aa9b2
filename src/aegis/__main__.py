"""`python -m aegis` is `aegis`."""

import sys

from aegis.cli import main

sys.exit(main())
