"""The crypto core: keys, signatures and envelopes (specification 4)."""

from __future__ import annotations

from lianlian_async.crypto.envelope import open_envelope, seal
from lianlian_async.crypto.journal_keys import JournalKeys, make_journal_key
from lianlian_async.crypto.keys import KeyRing, load_private_key, load_public_key
from lianlian_async.crypto.signing import sign_members, string_to_sign, verify_members

__all__ = [
    "JournalKeys",
    "KeyRing",
    "load_private_key",
    "load_public_key",
    "make_journal_key",
    "open_envelope",
    "seal",
    "sign_members",
    "string_to_sign",
    "verify_members",
]
