"""Messages to bytes and bytes to messages (specification 3 and 4).

Parsing keeps what was written: numbers stay the text they were (`200.10` is not `200.1`), because the
signature was made over that text. Whatever is not one plain JSON object is unreadable.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from lianlian_async.crypto.envelope import Entropy, seal
from lianlian_async.crypto.keys import KeyRing
from lianlian_async.crypto.signing import sign_members, verify_members
from lianlian_async.errors import MessageRejected, Rejection

__all__ = [
    "BODY_BYTES_MAX",
    "DEPTH_MAX",
    "encode_query",
    "encode_sealed",
    "open_message",
    "parse_object",
]

BODY_BYTES_MAX: Final = 65536
DEPTH_MAX: Final = 4

_SURROGATE = re.compile("[\ud800-\udfff]")

_encode_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class _Lexeme(str):
    """A JSON number, as it was written."""

    __slots__ = ()


class _Unreadable(ValueError):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _Unreadable("a member appears twice")
    return members


def _no_constant(name: str) -> NoReturn:
    raise _Unreadable(f"{name} is not JSON")


_decode_json = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_Lexeme, parse_int=_Lexeme, parse_constant=_no_constant
).decode


def parse_object(body: bytes) -> dict[str, str | None]:
    """The members of the one JSON object in `body`, at most `BODY_BYTES_MAX` bytes of UTF-8.

    Text stays text, null becomes None, and everything else the JSON text it was written as.
    Raises `MessageRejected`.
    """
    members = _parsed(body)
    if isinstance(members, str):
        raise MessageRejected(Rejection.UNREADABLE, members)
    return members


def _parsed(body: bytes) -> dict[str, str | None] | str:
    """The members, or why there are none. A JSON error carries the body, so none is let out of here."""
    if len(body) > BODY_BYTES_MAX:
        return f"the body is longer than {BODY_BYTES_MAX} bytes"
    try:
        value = _decode_json(body.decode("utf-8-sig"))
        if not isinstance(value, dict):
            return "the body is not a JSON object"
        members = {name: _flat(member) for name, member in value.items()}
    except _Unreadable as fault:
        return str(fault)
    except (ValueError, RecursionError):
        return "the body is not JSON in UTF-8"
    if any(_SURROGATE.search(f"{name}{member}") for name, member in members.items()):
        return "the body holds half a character"
    return members


def _flat(member: Any) -> str | None:
    if member is None:
        return None
    return str(member) if isinstance(member, str) else _json_text(member, depth=2)


def _json_text(value: Any, depth: int) -> str:
    """`value` as compact JSON, its numbers as they were written. `depth` counts from the outermost object."""
    if isinstance(value, (dict, list)) and depth > DEPTH_MAX:
        raise _Unreadable(f"the body is nested deeper than {DEPTH_MAX}")
    if isinstance(value, dict):
        inner = (f"{_encode_json(name)}:{_json_text(member, depth + 1)}" for name, member in value.items())
        return f"{{{','.join(inner)}}}"
    if isinstance(value, list):
        return f"[{','.join(_json_text(member, depth + 1) for member in value)}]"
    return str(value) if isinstance(value, _Lexeme) else _encode_json(value)


def open_message(body: bytes, keyring: KeyRing) -> dict[str, str | None]:
    """All members of an answer or notification, proven to be LianLian's. Raises `MessageRejected`."""
    members = parse_object(body)
    verify_members(members, keyring)
    return members


def encode_sealed(members: Mapping[str, str], keyring: KeyRing, entropy: Entropy = os.urandom) -> bytes:
    """The body of a pay or confirm request: its members signed, then sealed (specification 3.1, 3.2 and 4)."""
    signed = sign_members(members, keyring)
    pay_load = seal(_encode_json(signed).encode("utf-8"), keyring, entropy)
    return _encode_json({"oid_partner": members["oid_partner"], "pay_load": pay_load}).encode("ascii")


def encode_query(members: Mapping[str, str], keyring: KeyRing) -> bytes:
    """The body of a query: signed, not sealed (specification 3.3)."""
    return _encode_json(sign_members(members, keyring)).encode("utf-8")
