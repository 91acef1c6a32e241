"""The command line. ``pellucid --help`` imports no torch: each command imports what it needs when it runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code: 0 done, 1 a check failed, 2 an error, 130 stopped."""
    try:
        from pellucid.cli.run import run

        code = run(arguments)
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)
