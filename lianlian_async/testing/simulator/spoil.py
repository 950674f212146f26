"""Bodies that are not answers."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from .draw import Draw
from .wire import Members

__all__ = ["NOISE_BYTES", "garbage", "html_page", "oversized"]

NOISE_BYTES = 200
_TOO_LONG = 70_000  # characters, above the 64 KiB that a reader has to accept


def html_page(status: int) -> bytes:
    """A page of the kind a proxy in front of the gateway shows."""
    title = f"{status} {HTTPStatus(status).phrase}"
    page = f"<html><head><title>{title}</title></head><body><center><h1>{title}</h1></center><hr></body></html>\n"
    return page.encode("ascii")


def garbage(draw: Draw, number: str, count: int) -> bytes:
    """Noise, the same for the same seed and number."""
    return bytes(draw.whole(256, "garbage", number, index) for index in range(count))


def oversized(members: Mapping[str, str | None]) -> Members:
    """An answer with one more member that makes it longer than any reader should accept; to be signed again."""
    return {**{name: value for name, value in members.items() if name != "sign"}, "remark": "x" * _TOO_LONG}
