"""`python -m minaction` is the `minaction` command."""

from __future__ import annotations

from minaction.cli import main

if __name__ == "__main__":
    main()
