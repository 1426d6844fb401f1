"""`python -m blkmodel`."""

import sys

from blkmodel.cli.main import main

sys.exit(main())
