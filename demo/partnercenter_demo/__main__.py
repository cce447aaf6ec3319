"""`python -m partnercenter_demo` is the command `demo`."""

from __future__ import annotations

import sys

from partnercenter_demo.cli import main

sys.exit(main())
