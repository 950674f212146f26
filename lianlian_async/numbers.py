"""Order numbers that follow from the caller's own key (specification 3.1, `no_order`).

A number that can be worked out again survives the loss of everything else: if a journal is gone and the
caller asks again, the same number goes out and the *gateway* turns the second one away.
"""

from __future__ import annotations

import base64
import hashlib
import unicodedata

from .errors import InvalidOrder

__all__ = ["KEY_CHARACTERS_MAX", "check_key", "derive"]

KEY_CHARACTERS_MAX = 200


def check_key(key: str) -> str:
    """`key` if it can name a payment for ever; raises InvalidOrder."""
    if not key or len(key) > KEY_CHARACTERS_MAX or key != key.strip():
        raise InvalidOrder(
            "key", f"must have 1 to {KEY_CHARACTERS_MAX} characters and no blanks around them", "choose another"
        )
    if not unicodedata.is_normalized("NFC", key) or any(unicodedata.category(c) in ("Cc", "Cf", "Cs") for c in key):
        raise InvalidOrder(
            "key", "holds invisible or unnormalised characters", "use plain text such as salary-2026-11/emp-1042"
        )
    return key


def derive(oid_partner: str, key: str, generation: int = 0) -> str:
    """The `no_order` of this merchant's key: 32 characters of A-Z and 2-7, the same for ever.

    `generation` rises only when a dead number is replaced. The parts are length-prefixed, so that no two
    different triples can run together into one text.
    """
    parts = (oid_partner, check_key(key), str(generation))
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return base64.b32encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")[:32]
