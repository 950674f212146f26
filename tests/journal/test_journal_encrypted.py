"""A journal with a key: what can be read in the file, who can open it, and what a hand in the file can do."""

from __future__ import annotations

import json
import os
import sqlite3
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path

import pytest
from attrs import evolve
from journal_samples import MOMENT, PARTNER, amendment, at, attempt, change, journal_keys, news, record

from lianlian_async.crypto import JournalKeys
from lianlian_async.errors import ConfigError, JournalUnavailable
from lianlian_async.journal import Orphan, TwinsFound
from lianlian_async.journal.rows import link, payee_of
from lianlian_async.journal.sqlite import SqliteJournal
from lianlian_async.journal.sqlite_keys import Vault
from lianlian_async.journal.sqlite_rotate import rotate, verify_chains
from lianlian_async.protocol.messages import content_hash
from lianlian_async.resolver import State

CARD, NAME, CODE, MEMO = "6222020031415926535", "欧阳锋墨", "834921", "工资 tre-sor"
CONTENT = {"acct_name": NAME, "card_no": CARD, "info_order": MEMO, "money_order": "25.78", "no_order": "n1"}
AMENDED = {**CONTENT, "acct_name": "欧阳锋默"}
WHOLE = record("n1", key="salary/emp-1042", content=CONTENT, content_hash=content_hash(CONTENT))
ENDINGS = ("", "-wal", "-shm")
A, B = journal_keys("a"), journal_keys("b")


def canaries() -> Iterator[bytes]:
    """All that must not be read in a file, and every hash by which a guess of it could be tested."""
    for text in (CARD, CARD[6:-4], NAME, NAME[1:], AMENDED["acct_name"], CODE, MEMO, "emp-1042", "Zhao Li", "trace me"):
        yield text.encode()
        yield json.dumps(text)[1:-1].encode()
        yield json.dumps(json.dumps(text))[1:-1].encode()[2:-2]
        yield b64encode(text.encode()).rstrip(b"=")[:-1]
        yield from _both(sha256(text.encode()).digest())
    for content in (CONTENT, AMENDED):
        yield from _both(bytes.fromhex(content_hash(content)))
        yield from _both(payee_of(PARTNER, content))
        yield from _both(link(b"", "intent", ("n1", PARTNER, "salary/emp-1042", 0, json.dumps(content))))
    yield from _both(sha256(json.dumps({"card_no": CARD}, sort_keys=True).encode()).digest())


def _both(digest: bytes) -> tuple[bytes, bytes]:
    return digest, digest.hex().encode()


def in_files(path: Path) -> set[bytes]:
    """Which of the canaries can be read."""
    files = [path.with_name(path.name + ending) for ending in ENDINGS]
    contents = [file.read_bytes() for file in files if file.exists()]
    return {canary for canary in canaries() if any(canary in content for content in contents)}


async def live(journal: SqliteJournal, no_order: str = "n1") -> None:
    """A payout with all that can belong to one, and what else a journal takes."""
    content = {**CONTENT, "no_order": no_order}
    whole = evolve(
        WHOLE, no_order=no_order, key=f"salary/emp-1042/{no_order}", content=content, content_hash=content_hash(content)
    )
    await journal.add([whole])
    sent = evolve(attempt(1), content_hash=whole.content_hash)
    await journal.save(no_order, 0, change(attempts=(sent,)))
    held = news(at(1), ret_code="4003", ret_msg=MEMO, confirm_code=CODE, detail="trace me", by="Zhao Li")
    await journal.save(no_order, 1, change(evidence=(held,)))
    corrected = {**AMENDED, "no_order": no_order}
    await journal.save(
        no_order, 2, evolve(change(), amendment=evolve(amendment(by="Zhao Li"), content=corrected, content_hash="h2"))
    )
    await journal.note_orphan(Orphan(PARTNER, f"x-{no_order}", MOMENT, {"card_no": CARD, "memo": MEMO}))


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The file in somebody's hand, with all triggers gone."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {name}")
        yield db


async def a_journal(path: Path, keys: JournalKeys | None = A, *numbers: str) -> None:
    journal = SqliteJournal(path, keys=keys)
    await journal.open()
    for no_order in numbers or ("n1",):
        await live(journal, no_order)
    await journal.close()


# --- what can be read


async def test_nothing_that_names_a_person_is_in_the_file(path: Path) -> None:
    """Card, name, code and free text are in none of the three files, in no form, nor a hash that would tell a guess."""
    journal = SqliteJournal(path, keys=A)
    await journal.open()
    await live(journal)
    assert in_files(path) == set()
    await journal.close()
    assert in_files(path) == set()
    await journal.open()
    held = await journal.find(PARTNER, "salary/emp-1042/n1")
    assert held is not None
    assert (held.content, held.content_hash) == ({**AMENDED, "no_order": "n1"}, "h2")
    assert (held.evidence[0].confirm_code, held.evidence[0].detail) == (CODE, "trace me")
    assert (await journal.orphans(PARTNER))[0].said == {"card_no": CARD, "memo": MEMO}
    await journal.close()


async def test_without_a_key_everything_is_in_the_file(path: Path) -> None:
    """The canaries sing where there is no key: the test above would find them."""
    await a_journal(path, None)
    assert len(in_files(path)) > 10


async def test_no_two_sealed_texts_are_alike(path: Path) -> None:
    """The same content twice, under a nonce of its own each; the same key in two journals finds nothing in common."""
    nonces: list[bytes] = []

    def entropy(count: int) -> bytes:
        nonces.append(os.urandom(count))
        return nonces[-1]

    for place in (path, path.with_name("other.db")):
        journal = SqliteJournal(place, keys=A, entropy=entropy)
        await journal.open()
        await live(journal)
        await journal.close()
    with closing(sqlite3.connect(path)) as one, closing(sqlite3.connect(path.with_name("other.db"))) as two:
        asked = "SELECT key, content, payee, seal, chain FROM payouts"
        assert not set(one.execute(asked).fetchone()) & set(two.execute(asked).fetchone())
    assert len([nonce for nonce in nonces if len(nonce) == 12]) == len(set(nonces)) - 2 == 10


async def test_twins_are_found_under_a_key(path: Path) -> None:
    """Though no hash of the payee is written."""
    journal = SqliteJournal(path, keys=A)
    await journal.open()
    await journal.add([WHOLE])
    with pytest.raises(TwinsFound) as found:
        await journal.add(
            [evolve(WHOLE, no_order="n2", key="k2", content={**CONTENT, "no_order": "n2"})], twins_since=MOMENT
        )
    assert found.value.twins == {"n2": ("n1",)}
    await journal.close()


# --- the right key, and any other


@pytest.mark.parametrize(
    ("made", "given", "sentence"),
    [
        (A, None, r"encrypted with the key 'a', and no key is given: set LIANLIAN_JOURNAL_KEY_FILE"),
        (A, B, r"encrypted with the key 'a', and the key file holds only 'b': put the line of 'a' back"),
        (A, JournalKeys({"a": bytes(32)}), r"the key 'a' that is given is not the one that encrypts"),
        (None, A, r"was written without a key, .*`lianlian-async keys rotate-journal`"),
    ],
)
async def test_another_key_than_its_own(
    path: Path, made: JournalKeys | None, given: JournalKeys | None, sentence: str
) -> None:
    """ConfigError says what to do, and the file is as it was."""
    await a_journal(path, made)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=sentence + r".*nothing was written"):
        await SqliteJournal(path, keys=given).open()
    assert path.read_bytes() == before
    await a_journal(path, made, "n2")


@pytest.mark.parametrize("given", [None, B])
async def test_an_empty_journal_has_its_key(path: Path, given: JournalKeys | None) -> None:
    """From the first opening on, before the first payout."""
    journal = SqliteJournal(path, keys=A)
    await journal.open()
    await journal.close()
    with pytest.raises(ConfigError, match="encrypted with the key 'a'"):
        await SqliteJournal(path, keys=given).open()


async def test_an_empty_journal_without_a_key_gets_one(path: Path) -> None:
    """There is nothing yet that stands in the open; whoever has it open without a key is refused from then on."""
    late = SqliteJournal(path)
    await late.open()
    await a_journal(path)
    for call in (late.add([record("n2")]), late.save("n1", 3, change()), late.load("n1"), late.find(PARTNER, "k")):
        with pytest.raises(JournalUnavailable, match=r"encrypted with the key 'a', and no key is given.*start again"):
            await call
    with pytest.raises(JournalUnavailable, match="no key is given"):
        await late.note_orphan(Orphan(PARTNER, "x", MOMENT, {}))
    assert await late.tally() != {}
    await late.close()


async def test_a_further_key_is_given(path: Path) -> None:
    """Nothing changes until somebody rotates: a process that has the old file only goes on."""
    await a_journal(path)
    more = SqliteJournal(path, keys=journal_keys("b", "a"))
    await more.open()
    await live(more, "n2")
    await more.close()
    journal = SqliteJournal(path, keys=A)
    await journal.open()
    assert await journal.verify() == 2
    await journal.close()


# --- a hand in the file

TEXTS = [
    ("payouts", "content"),
    ("amendments", "content"),
    ("attempts", "content_hash"),
    ("evidence", "said"),
    ("orphans", "said"),
]


def _flipped(sealed: str, place: int) -> str:
    octets = bytearray(b64decode(sealed))
    octets[place] ^= 1
    return b64encode(octets).decode()


def _rechain(db: sqlite3.Connection) -> None:
    """Make every chain anew over what is stored now, as somebody would who knows this library and has no key."""
    for payout, *intent in db.execute(
        "SELECT id, no_order, oid_partner, key, generation, content, content_hash, created_us FROM payouts"
    ).fetchall():
        chain = link(b"", "intent", intent)
        entries = [
            (row[0], rank, row[1], kind, row[2:])
            for rank, (kind, table, columns) in enumerate(
                [
                    ("amendment", "amendments", "content, content_hash, at_us, by"),
                    ("attempt", "attempts", "number, source, started_us, deadline_us, content_hash, owner"),
                    ("evidence", "evidence", "source, outcome, at_us, asked_us, attempt, said"),
                ]
            )
            for row in db.execute(f"SELECT version, position, {columns} FROM {table} WHERE payout = ?", (payout,))
        ]
        for *_, kind, row in sorted(entries):
            chain = link(chain, kind, row)
        db.execute("UPDATE payouts SET chain = ? WHERE id = ?", (chain, payout))


async def _check(path: Path) -> None:
    journal = SqliteJournal(path, keys=A)
    try:
        await journal.open()
        await journal.verify()
    finally:
        await journal.close()


async def _found(path: Path, *, chains: bool) -> None:
    """Reading and checking refuse, and so does whoever has no key, unless the chain was made anew."""
    with pytest.raises(JournalUnavailable, match="changed behind the journal's back"):
        await _check(path)
    if chains:
        with pytest.raises(JournalUnavailable, match=r"payout n. .* changed behind"):
            verify_chains(path)
    else:
        assert verify_chains(path) == 2


@pytest.mark.parametrize("forged", [False, True], ids=["careless", "chain made anew"])
@pytest.mark.parametrize("place", [0, 12, -1], ids=["nonce", "text", "tag"])
@pytest.mark.parametrize(("table", "column"), TEXTS)
async def test_a_byte_is_flipped(path: Path, table: str, column: str, place: int, forged: bool) -> None:
    """In any sealed text, at any place in it."""
    await a_journal(path, A, "n1", "n2")
    with opened(path) as db:
        row, sealed = db.execute(
            f"SELECT {'id' if table in ('payouts', 'orphans') else 'payout'}, {column} FROM {table}"
        ).fetchone()
        named = "id" if table in ("payouts", "orphans") else "payout"
        db.execute(f"UPDATE {table} SET {column} = ? WHERE {named} = ?", (_flipped(sealed, place), row))
        if forged:
            _rechain(db)
    await _found(path, chains=not forged and table != "orphans")


SWAPS = {
    "contents of two payouts": "UPDATE payouts SET content = (SELECT content FROM payouts AS o WHERE o.id <> payouts.id)",
    "callers' keys": "UPDATE payouts SET key = 'x' || key; UPDATE payouts SET key = (SELECT substr(key, 2) FROM payouts AS o "
    "WHERE o.id <> payouts.id) WHERE id = 1",
    "amendments": "UPDATE amendments SET content = (SELECT content FROM amendments AS o WHERE o.payout <> amendments.payout)",
    "attempts": "UPDATE attempts SET content_hash = (SELECT content_hash FROM attempts AS o WHERE o.payout <> attempts.payout)",
    "evidence": "UPDATE evidence SET said = (SELECT said FROM evidence AS o WHERE o.payout <> evidence.payout)",
    "evidence to another version": "UPDATE evidence SET version = 3",
    "orphans": "UPDATE orphans SET said = (SELECT said FROM orphans AS o WHERE o.id <> orphans.id)",
    "an orphan to another moment": "UPDATE orphans SET at_us = at_us + 1",
    "states": "UPDATE payouts SET state = 'PAID'",
    "due times": "UPDATE payouts SET due_us = 0",
    "an attempt's number": "UPDATE attempts SET number = 7",
    "a last answer": "DELETE FROM evidence",
    "an answer from nowhere": "INSERT INTO evidence SELECT payout, 9, 0, source, outcome, 0, 0, attempt, said FROM evidence",
    "seals": "UPDATE payouts SET seal = NULL",
    "keys of payouts": "UPDATE payouts SET sealed_by = 0, seal = NULL",
    "keys of payouts, with a row for no key": "UPDATE payouts SET sealed_by = 0, seal = NULL; "
    "INSERT INTO keys VALUES (0, '', x'', x'')",
    "payees": "UPDATE payouts SET payee = x'00'",
    "amounts": "UPDATE payouts SET money_order = '1.00'",
}  # fmt: skip


@pytest.mark.parametrize("what", SWAPS)
async def test_rows_are_changed_and_the_chain_made_anew(path: Path, what: str) -> None:
    """Whoever has no key cannot make it good: swapped, moved, removed, invented, or a payout in another state."""
    await a_journal(path, A, "n1", "n2")
    with opened(path) as db:
        db.executescript(SWAPS[what])
        _rechain(db)
    with pytest.raises((JournalUnavailable, ConfigError), match="changed"):
        await _check(path)


async def test_a_sealed_text_that_does_not_open_under_a_signature_that_holds(path: Path) -> None:
    """Only whoever has the key can sign it, and even then it is refused."""
    await a_journal(path, A, "n1")
    with opened(path) as db:
        db.execute("UPDATE payouts SET content = 'AAAA' || content")
        _rechain(db)
        vault = Vault(path, A, os.urandom)
        chain, *standing = db.execute("SELECT chain, version, state, step, due_us FROM payouts").fetchone()
        db.execute("UPDATE payouts SET seal = ?", (vault.in_use(db)[0].sign(chain, standing),))
    with pytest.raises(JournalUnavailable, match=r"payout n1 .* changed behind"):
        await _check(path)


async def test_a_save_on_a_forged_chain(path: Path) -> None:
    """It is refused: it would sign what somebody without the key has written."""
    await a_journal(path, A, "n1", "n2")
    journal = SqliteJournal(path, keys=A)
    await journal.open()
    with opened(path) as db:
        db.execute("DELETE FROM evidence")
        _rechain(db)
    with pytest.raises(JournalUnavailable, match=r"payout n1 .* changed behind"):
        await journal.save("n1", 3, change(State.PAID))
    await journal.close()


async def test_an_amendment_of_a_forged_content(path: Path) -> None:
    """It is refused, too: what it is held against does not open."""
    await a_journal(path, A, "n1")
    journal = SqliteJournal(path, keys=A)
    await journal.open()
    with opened(path) as db:
        db.execute("UPDATE payouts SET content = 'AAAA' || content")
    with pytest.raises(JournalUnavailable, match=r"payout n1 .* changed behind"):
        await journal.save("n1", 3, evolve(change(), amendment=amendment("n1")))
    await journal.close()


async def test_the_table_of_keys_is_gone(path: Path) -> None:
    """ConfigError at the start, JournalUnavailable for whoever is at it."""
    await a_journal(path)
    journal = SqliteJournal(path, keys=A)
    await journal.open()
    with opened(path) as db:
        db.execute("DELETE FROM keys")
    with pytest.raises(JournalUnavailable, match="lost its table of keys"):
        await journal.save("n1", 3, change())
    await journal.close()
    with pytest.raises(ConfigError, match="lost its table of keys"):
        await SqliteJournal(path, keys=A).open()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM keys",
        "UPDATE keys SET id = 'b'",
        "INSERT OR REPLACE INTO keys SELECT * FROM keys",
        "UPDATE payouts SET content = ''",
        "UPDATE payouts SET sealed_by = 0",
        "UPDATE attempts SET content_hash = ''",
        "UPDATE amendments SET by = ''",
        "UPDATE orphans SET digest = ''",
        "INSERT INTO resealing VALUES ('payout', 1); UPDATE payouts SET state = 'PAID'",
        "INSERT INTO resealing VALUES ('payout', 1); UPDATE payouts SET money_order = '1.00'",
        "INSERT INTO resealing VALUES ('payout', 1); UPDATE evidence SET outcome = 'unsigned'",
    ],
)
async def test_a_careless_hand(path: Path, statement: str) -> None:
    """The schema refuses: sealing anew changes nothing but what is sealed."""
    await a_journal(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db, pytest.raises(sqlite3.IntegrityError):
        db.executescript(statement)


def test_the_chain_of_a_journal_that_is_not_there(path: Path) -> None:
    """ConfigError, and no file is made."""
    for ask in (lambda: verify_chains(path), lambda: rotate(path, A)):
        with pytest.raises(ConfigError, match="there is no journal"):
            ask()
    assert not path.exists()


async def test_a_part_of_a_journal_is_checked_without_a_key(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stretch by stretch, plain or encrypted."""
    monkeypatch.setattr("lianlian_async.journal.sqlite_payouts._STRETCH", 2)
    await a_journal(path, A, "n1", "n2", "n3")
    assert verify_chains(path) == 3
    await a_journal(path.with_name("plain.db"), None)
    assert verify_chains(path.with_name("plain.db")) == 1
