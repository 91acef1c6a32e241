"""``python -m pellucid``: the command line."""

from __future__ import annotations

from pellucid.cli import main

if __name__ == "__main__":
    main()
