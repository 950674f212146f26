"""`python -m lianlian_async`, and the console script of the same name."""

from __future__ import annotations

import sys
from importlib.util import find_spec


def main() -> None:
    """Run the command line; it comes with the extra `cli`."""
    for package in ("click", "rich", "aiohttp"):
        if find_spec(package) is None:
            sys.stderr.write(f"Error: the command line needs {package}: pip install 'lianlian-async[cli]'\n")
            sys.exit(2)
    from .cli import run

    run()


if __name__ == "__main__":
    main()
