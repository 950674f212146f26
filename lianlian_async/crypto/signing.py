"""Signing and verifying messages (specification 4.2): MD5withRSA over `k=v&k=v`.

Names go in ASCII order of the whole name: `no_order` before `notify_url`. Only `sign` and members that
are null or empty stay out; `sign_type` takes part, and so does every member this library does not know,
which is why messages are verified as they were parsed and not as a typed model.

Nothing in the signed string is escaped, so it can be cut into members in more than one way. A message
is therefore accepted only when it is the one plain reading of its string: names are plain words, and
no value holds what could be the beginning of another member.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Final

from lianlian_async.crypto.keys import KeyRing
from lianlian_async.errors import InvalidOrder, MessageRejected, Rejection

__all__ = ["SIGN_TYPE", "sign_members", "string_to_sign", "verify_members"]

SIGN_TYPE: Final = "RSA"

_NAME: Final = re.compile("[A-Za-z0-9_]{1,64}")
_BEGINS_A_MEMBER: Final = re.compile("&[A-Za-z0-9_]+=")


def string_to_sign(members: Mapping[str, str | None]) -> bytes:
    """What the signature of `members` is made over (specification 4.2)."""
    return "&".join(f"{name}={members[name]}" for name in sorted(members) if members[name] and name != "sign").encode()


def sign_members(members: Mapping[str, str], keyring: KeyRing) -> dict[str, str]:
    """`members` with their `sign`. Raises `InvalidOrder` unless all are text and `sign_type` is RSA.

    A number is refused because it may be signed in one spelling and travel in another.
    """
    for name, value in members.items():
        if not isinstance(value, str):
            raise InvalidOrder(name, f"is of type {type(value).__name__}, not text", "give a str", "4.2")
    if members.get("sign_type") != SIGN_TYPE:
        raise InvalidOrder("sign_type", "is not RSA", "use RSA", "4.2")
    return {**members, "sign": keyring.sign(string_to_sign(members))}


def verify_members(members: Mapping[str, str | None], keyring: KeyRing) -> None:
    """Raise `MessageRejected` unless `members`, as parsed, are LianLian's words (specification 4.2)."""
    sign = members.get("sign")
    if not sign or members.get("sign_type") != SIGN_TYPE:
        raise MessageRejected(Rejection.UNSIGNED, "there is no sign, or its sign_type is not RSA")
    if not all(_is_plain(name, value) for name, value in members.items()):
        raise MessageRejected(Rejection.UNREADABLE, "a name or value could be cut into other members")
    keyring.verify(string_to_sign(members), sign)


def _is_plain(name: str, value: str | None) -> bool:
    """True when the member can be read in one way only, and cannot carry an MD5 collision's binary blocks."""
    if not _NAME.fullmatch(name):
        return False
    if value is None or (value.isascii() and value.isprintable() and "&" not in value):
        return True
    if any(unicodedata.category(char) in {"Cc", "Cs"} for char in value):
        return False
    return _BEGINS_A_MEMBER.search(value) is None
