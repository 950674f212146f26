"""Numbers on the command lines of the developers' own commands."""

from __future__ import annotations

import argparse


def how_many(text: str) -> int:
    """At least one, so that no run passes by doing nothing."""
    if text.isascii() and text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above zero")
