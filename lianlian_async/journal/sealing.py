"""What an encrypted journal writes instead of card, name and free text: rows of `rows` sealed, and opened again.

A sealer stands between the rows of a payout and a store, whatever the store is. `Bare` leaves rows as they are.
`Sealer` has the key of one journal (AES-256-GCM, a fresh random nonce of 96 bits each) and binds every sealed
text to its place: kind, key, number of the payout, version and position. A text that was moved does not open.

    intent       content, content_hash and the caller's key     becomes one sealed text
    amendment    content, content_hash and who did it           one sealed text
    attempt      content_hash
    evidence     what it said
    orphan       what it said

What must be found without being opened becomes a MAC (HMAC-SHA256) under a key of its own: the caller's key, the
payee that twins have in common, the digest of an orphan. A plain hash of so few unknowns could be guessed.

The chain of `rows` runs over what is *stored*. So it needs no key to be checked, and says nothing about what it
chains. With a key, a signature over chain and standing (HMAC-SHA256) comes on top: without the key nobody can
make a chain that holds, nor move a payout to another state.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from typing import Any, Final

from attrs import evolve
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from ..crypto.journal_keys import JournalKeys
from .rows import Entries, Row, Stored
from .shared import digest_of

__all__ = ["Bare", "Sealer", "Tampered"]

Place = tuple[str, int, int]  # number of the payout, version, position
_OfPlace = Callable[[Place, Row], Row]
# Random nonces are good for 2**32 texts under one key (NIST SP 800-38D, 8.3): 500 million payouts of eight texts.
_NONCE_BYTES: Final = 12


class Tampered(ValueError):
    """This is not what was sealed in this place with this key."""


class Bare:
    """The rows of a journal without a key, as they are."""

    seq = 0

    def key(self, oid_partner: str, key: str) -> str:
        """What a caller's key is found by."""
        return key

    def payee(self, digest: bytes) -> bytes:
        """What a payee is found by; see `rows.payee_of`."""
        return digest

    def digest(self, oid_partner: str, no_order: str, digest: str) -> str:
        """What an orphan is known by."""
        return digest

    def sign(self, chain: bytes, standing: Sequence[object]) -> bytes | None:
        """The signature over a payout's chain and standing."""
        return None

    def intent(self, row: Row) -> Row:
        """The row of an intent (see `rows.intent_row`), sealed."""
        return row

    def orphan(self, row: Row) -> Row:
        """The row of an orphan (see `shared.orphan_row`), sealed."""
        return row

    def open_intent(self, row: Row) -> Row:
        """The reverse of `intent`; raises Tampered."""
        return row

    def open_orphan(self, row: Row) -> Row:
        """The reverse of `orphan`; raises Tampered."""
        return row

    def entries(self, no_order: str, version: int, entries: Entries) -> Entries:
        """What one add or save brings, sealed."""
        return entries

    def stored(self, plain: Stored) -> Stored:
        """A whole payout, sealed."""
        return plain

    def opened(self, stored: Stored) -> Stored:
        """The reverse of `stored`; raises Tampered."""
        return stored


def _mapped(
    payout: Stored, intent: Callable[[Row], Row], amendment: _OfPlace, attempt: _OfPlace, evidence: _OfPlace
) -> Stored:
    no_order = payout.intent[0]

    def each(one: _OfPlace, rows: Sequence[Row]) -> list[Row]:
        return [(*row[:2], *one((no_order, row[0], row[1]), row[2:])) for row in rows]

    return evolve(
        payout,
        intent=intent(payout.intent),
        amendments=each(amendment, payout.amendments),
        attempts=each(attempt, payout.attempts),
        evidence=each(evidence, payout.evidence),
    )


class Sealer(Bare):
    """One key of one journal. It shows none of its keys, and is derived anew where it is needed."""

    def __init__(self, seq: int, key_id: str, salt: bytes, keys: JournalKeys, entropy: Callable[[int], bytes]) -> None:
        self.seq = seq
        self._key_id = key_id
        self._aead = AESGCM(keys.derived(key_id, salt, "content"))
        self._found_by = _Mac(keys.derived(key_id, salt, "look-up"))
        self._signs = _Mac(keys.derived(key_id, salt, "signature"))
        self._entropy = entropy

    def key(self, oid_partner: str, key: str) -> str:
        return self._found_by("key", oid_partner, key).hex()

    def payee(self, digest: bytes) -> bytes:
        return self._found_by("payee", digest.hex())

    def digest(self, oid_partner: str, no_order: str, digest: str) -> str:
        return self._found_by("orphan", oid_partner, no_order, digest).hex()

    def sign(self, chain: bytes, standing: Sequence[object]) -> bytes | None:
        return self._signs(chain.hex(), *standing)

    def intent(self, row: Row) -> Row:
        no_order, oid_partner, key, generation, content, content_hash, created_us = row
        sealed = self._seal(("intent", no_order), content, content_hash, key)
        found_by = None if key is None else self.key(oid_partner, key)
        return no_order, oid_partner, found_by, generation, sealed, "", created_us

    def open_intent(self, row: Row) -> Row:
        no_order, oid_partner, _, generation, sealed, _, created_us = row
        content, content_hash, key = self._open(("intent", no_order), sealed)
        return no_order, oid_partner, key, generation, content, content_hash, created_us

    def amendment(self, place: Place, row: Row) -> Row:
        content, content_hash, at_us, by = row
        return self._seal(("amendment", *place), content, content_hash, by), "", at_us, ""

    def open_amendment(self, place: Place, row: Row) -> Row:
        sealed, _, at_us, _ = row
        content, content_hash, by = self._open(("amendment", *place), sealed)
        return content, content_hash, at_us, by

    def attempt(self, place: Place, row: Row) -> Row:
        number, source, started_us, deadline_us, content_hash, owner = row
        return number, source, started_us, deadline_us, self._seal(("attempt", *place), content_hash), owner

    def open_attempt(self, place: Place, row: Row) -> Row:
        number, source, started_us, deadline_us, sealed, owner = row
        (content_hash,) = self._open(("attempt", *place), sealed)
        return number, source, started_us, deadline_us, content_hash, owner

    def evidence(self, place: Place, row: Row) -> Row:
        return *row[:-1], self._seal(("evidence", *place), row[-1])

    def open_evidence(self, place: Place, row: Row) -> Row:
        return *row[:-1], *self._open(("evidence", *place), row[-1])

    def orphan(self, row: Row) -> Row:
        oid_partner, no_order, digest, at_us, said = row
        digest = self.digest(oid_partner, no_order, digest)
        return oid_partner, no_order, digest, at_us, self._seal(("orphan", oid_partner, no_order, digest, at_us), said)

    def open_orphan(self, row: Row) -> Row:
        oid_partner, no_order, digest, at_us, sealed = row
        (said,) = self._open(("orphan", oid_partner, no_order, digest, at_us), sealed)
        return oid_partner, no_order, digest_of(said), at_us, said

    def entries(self, no_order: str, version: int, entries: Entries) -> Entries:
        def sealed(one: Callable[[Place, Row], Row], rows: Sequence[Row]) -> tuple[Row, ...]:
            return tuple(one((no_order, version, position), row) for position, row in enumerate(rows))

        return Entries(
            sealed(self.amendment, entries.amendments),
            sealed(self.attempt, entries.attempts),
            sealed(self.evidence, entries.evidence),
        )

    def stored(self, plain: Stored) -> Stored:
        return _mapped(plain, self.intent, self.amendment, self.attempt, self.evidence)

    def opened(self, stored: Stored) -> Stored:
        return _mapped(stored, self.open_intent, self.open_amendment, self.open_attempt, self.open_evidence)

    def _seal(self, place: Sequence[object], *texts: str | None) -> str:
        nonce = self._entropy(_NONCE_BYTES)
        # The first text is JSON already, and mostly all there is: it is not wrapped into JSON once more.
        rest = json.dumps(texts[1:]) if len(texts) > 1 else ""
        plain = f"{rest}\n{texts[0]}".encode()
        return b64encode(nonce + self._aead.encrypt(nonce, plain, self._bound(place))).decode("ascii")

    def _open(self, place: Sequence[object], sealed: str) -> list[Any]:
        try:
            octets = b64decode(sealed, validate=True)
            plain = self._aead.decrypt(octets[:_NONCE_BYTES], octets[_NONCE_BYTES:], self._bound(place))
        except (InvalidTag, ValueError) as error:
            raise Tampered("not what was sealed in this place") from error
        rest, _, first = plain.decode().partition("\n")
        return [first, *json.loads(rest or "[]")]

    def _bound(self, place: Sequence[object]) -> bytes:
        return _bytes_of((self._key_id, *place))


class _Mac:
    """A keyed hash over a list of values, whose borders it keeps apart."""

    def __init__(self, key: bytes) -> None:
        self._begun = HMAC(key, SHA256())

    def __call__(self, *values: object) -> bytes:
        mac = self._begun.copy()
        mac.update(_bytes_of(values))
        return mac.finalize()


def _bytes_of(values: Sequence[object]) -> bytes:
    """Texts, numbers and None as Python writes them in ASCII: no two different lists look alike. Three times as fast
    as JSON, of which a payout would need a dozen."""
    return ascii(values).encode("ascii")
