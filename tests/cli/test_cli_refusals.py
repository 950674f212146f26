"""What is wrong before anything is sent: one sentence, the right exit status, and nothing in the gateway's ledger."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cli_world import Gateway, Keys, Ran, Shell, a_gateway, make_journal, pause_in_journal, rows, write_csv

from lianlian_async.testing.simulator import Behaviour

NOBODY = 54321
Here = Callable[..., Ran]


@pytest.fixture
def salaries(tmp_path: Path) -> Path:
    """A sound file of three payments."""
    return write_csv(tmp_path / "salaries.csv", rows(3))


def require_refused(ran: Ran, code: int, *words: str) -> None:
    """One sentence on stderr that holds these words, and this exit status."""
    assert ran.code == code, ran.text
    said = ran.said
    assert said, "nothing was said"
    for word in words:
        assert word.casefold() in said.casefold(), said
    assert said.count("Error:") <= 1, said
    # A usage mistake brings its usage line along; everything else is a sentence and nothing more.
    assert len(said) < 600, said
    assert "None" not in said, said


# ---------------------------------------------------------------------- the gateway turns us down


async def test_wrong_merchant_key(gateway: Gateway, shell: Shell, salaries: Path) -> None:
    """1001: our key is not the one the portal knows. The configuration is wrong, and the sentence says which part."""
    ran = await shell.pay(salaries, env={"LIANLIAN_PRIVATE_KEY_FILE": str(shell.keys.path("stranger-private"))})
    require_refused(ran, 2, "1001", "key", "nothing was sent")
    gateway.require_untouched()


async def test_wrong_gateway_public_key(gateway: Gateway, shell: Shell, salaries: Path) -> None:
    """Answers that the configured key did not sign: the configuration is wrong."""
    ran = await shell.pay(salaries, env={"LIANLIAN_GATEWAY_PUBLIC_KEY_FILE": str(shell.keys.path("stranger-public"))})
    require_refused(ran, 2, "LIANLIAN_GATEWAY_PUBLIC_KEY_FILE", "nothing was sent")
    gateway.require_untouched()


async def test_wrong_merchant_number(gateway: Gateway, shell: Shell, salaries: Path) -> None:
    """3001: nobody knows this merchant number. The configuration is wrong."""
    ran = await shell.pay(salaries, env={"LIANLIAN_OID_PARTNER": "201606020000150063"})
    require_refused(ran, 2, "merchant", "nothing was sent")
    gateway.require_untouched()


async def test_address_not_on_the_white_list(gateway: Gateway, shell: Shell, salaries: Path) -> None:
    """1008: the gateway does not take calls from this address."""
    gateway.simulator.operator.set_ip_allowed(False)
    ran = await shell.pay(salaries)
    require_refused(ran, 2, "1008", "nothing was sent")
    gateway.require_untouched()


async def test_merchant_without_permission(gateway: Gateway, shell: Shell, salaries: Path) -> None:
    """4005 comes only on payment: every row waits for the operator, nothing is booked, new money is paused, status 1."""
    gateway.simulator.operator.set_permission(False)
    ran = await shell.pay(salaries)
    assert ran.code == 1, ran.text
    assert gateway.ledger.entries == []
    outcomes = shell.outcomes()
    assert {row["step"] for row in outcomes.values()} == {"FIX"}
    assert {row["ret_code"] for row in outcomes.values()} <= {"4005", ""}
    again = await shell.pay(write_csv(shell.folder / "more.csv", rows(1, 100)))
    assert again.code == 1, again.text
    assert "paused" in again.said


async def test_gateway_down(shell: Shell, salaries: Path) -> None:
    """Nobody listens at the gateway's port."""
    ran = await shell.pay(salaries)
    require_refused(ran, 3, "cannot be reached", "nothing was sent")
    assert await shell.status() == []


@asynccontextmanager
async def a_web_server(answer: bytes) -> AsyncIterator[str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/paymentapi/"
    finally:
        server.close()
        await server.wait_closed()


async def test_something_that_is_not_the_gateway(shell: Shell, salaries: Path) -> None:
    """A web page where the gateway should be, under whatever status: unusable, and nothing is sent."""
    page = b"<html><body>\xe7\xb3\xbb\xe7\xbb\x9f\xe7\xbb\xb4\xe6\x8a\xa4</body></html>"

    async def under(status: str) -> None:
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {len(page)}\r\nConnection: close\r\n\r\n"
        )
        async with a_web_server(head.encode() + page) as base_url:
            ran = await shell.pay(salaries, env={"LIANLIAN_BASE_URL": base_url})
        require_refused(ran, 3, base_url, "nothing was sent")

    await asyncio.gather(*map(under, ("200 OK", "302 Found", "502 Bad Gateway")))
    assert await shell.status() == []


async def test_gateway_that_never_answers(shell: Shell, salaries: Path) -> None:
    """A port that accepts and says nothing: it ends by the deadlines, with a sentence."""

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as server:
        shell.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/paymentapi/"
        ran = await shell.pay(salaries)
    require_refused(ran, 3, "nothing was sent")


async def test_clock_off(keys: Keys, shell: Shell, salaries: Path) -> None:
    """A quarter of an hour between our clock and the gateway's is refused, and it is said which way."""

    async def off(offset_s: float, side: str) -> None:
        async with a_gateway(keys, scale=1, behaviour=Behaviour(clock_offset_s=offset_s)) as gateway:
            ran = await shell.pay(salaries, scale=1, env={"LIANLIAN_BASE_URL": gateway.base_url})
            require_refused(ran, 2, "clock", side, "nothing was sent")
            gateway.require_untouched()

    await asyncio.gather(off(900.0, "behind"), off(-900.0, "ahead of"))


async def test_a_fault_at_the_wrong_moment_is_no_verdict(keys: Keys, shell: Shell, salaries: Path) -> None:
    """What a storm does to the last of the preflight's questions must not hide that the key is wrong."""
    async with a_gateway(keys, faults="storm", seed=5) as gateway:
        shell.base_url = gateway.base_url
        ran = await shell.pay(
            salaries, env={"LIANLIAN_GATEWAY_PUBLIC_KEY_FILE": str(shell.keys.path("stranger-public"))}
        )
        require_refused(ran, 2, "LIANLIAN_GATEWAY_PUBLIC_KEY_FILE", "nothing was sent")
        gateway.require_untouched()


# ---------------------------------------------------------------------- the file


def _missing(path: Path) -> None:
    path.unlink()


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _binary(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 8)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _header_only(path: Path) -> None:
    path.write_text("money_order,card_no,acct_name\n")


def _unknown_column(path: Path) -> None:
    path.write_text(path.read_text().replace("info_order", "amount_in_euro"))


def _outcomes_file(path: Path) -> None:
    path.write_text("key,no_order,state,step,money_order,oid_paybill,ret_code,settle_date,advice\n")


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    "spoil", [_missing, _directory, _binary, _empty, _header_only, _unknown_column, _outcomes_file, _pipe]
)
def test_a_file_that_cannot_be_read_as_payments(here: Here, salaries: Path, spoil: Callable[[Path], None]) -> None:
    """A file that is not a list of payments is refused in one sentence that names it."""
    spoil(salaries)
    require_refused(here("pay", salaries, "--yes", "--outcomes", "o.csv"), 2, str(salaries))


async def test_a_file_that_is_not_there(gateway: Gateway, shell: Shell) -> None:
    """The same from outside."""
    require_refused(await shell.pay(shell.folder / "nowhere.csv"), 2, "nowhere.csv")
    gateway.require_untouched()
    assert gateway.asked("query") == 0


async def test_bad_rows(gateway: Gateway, shell: Shell) -> None:
    """Each bad row is listed with its line and field, the sound ones are not paid, and no card number is shown."""
    lines = rows(4)
    lines[1]["money_order"] = "-5.00"
    lines[2]["card_no"] = "6228480223123114741\u200b9"
    lines[3]["key"] = lines[0]["key"]
    ran = await shell.pay(write_csv(shell.folder / "bad.csv", lines))
    assert ran.code == 2, ran.text
    for line, name in ((3, "money_order"), (4, "card_no"), (5, "key")):
        assert re.search(rf"\b{line}\b[^\n]*\b{name}\b", ran.err), ran.err
    assert "nothing was sent" in ran.said
    assert "6228480223123114741" not in ran.text
    gateway.require_untouched()
    assert await shell.status() == []


async def test_more_than_max_total(gateway: Gateway, shell: Shell, salaries: Path) -> None:
    """A sum above --max-total, by a fen, is refused; the sum itself is not."""
    refused = await shell.pay(salaries, "--max-total", "6.05")
    require_refused(refused, 2, "6.06", "6.05", "nothing was sent")
    gateway.require_untouched()
    assert (await shell.pay(salaries, "--max-total", "6.06")).code == 0


@pytest.mark.parametrize("amount", ["abc", "NaN", "-1", "Infinity", "1,000"])
def test_max_total_that_is_no_amount(here: Here, salaries: Path, amount: str) -> None:
    """A limit that is not understood is refused, never left out."""
    require_refused(here("pay", salaries, "--yes", f"--max-total={amount}"), 2, "amount")


# ---------------------------------------------------------------------- the settings


@pytest.mark.parametrize("name", ["oid_partner", "private_key_file", "gateway_public_key_file", "journal"])
def test_missing_setting(here: Here, salaries: Path, name: str) -> None:
    """Each missing setting is named as it would have to be set."""
    require_refused(here("pay", salaries, "--yes", **{f"LIANLIAN_{name.upper()}": None}), 2, name)


async def test_no_address_for_notifications(gateway: Gateway, shell: Shell, salaries: Path) -> None:
    """The specification wants one in every order; without it nothing is sent, and the setting is named."""
    require_refused(await shell.pay(salaries, env={"LIANLIAN_NOTIFY_URL": None}), 2, "LIANLIAN_NOTIFY_URL", "--config")
    gateway.require_untouched()


@pytest.mark.parametrize(
    ("toml", "word"),
    [
        (b'jornal = "sqlite:///x.db"\n', "jornal"),
        (b"journal = 5\n", "journal"),
        (b"journal = \n", "TOML"),
        (b'journal = "\xff"\n', "TOML"),
        (None, "cannot be read"),
    ],
)
def test_configuration_file_with_a_mistake(
    here: Here, tmp_path: Path, salaries: Path, toml: bytes | None, word: str
) -> None:
    """A name that is not a setting, a value that is no text, a file that is no TOML or not there: each is said."""
    if toml is not None:
        (tmp_path / "pay.toml").write_bytes(toml)
    require_refused(here("pay", salaries, "--yes", "--config", "pay.toml"), 2, "pay.toml", word)


async def test_private_key_that_others_can_read(gateway: Gateway, shell: Shell, salaries: Path) -> None:
    """A private key must be ours alone."""
    key = shell.folder / "open.pem"
    shutil.copy(shell.keys.path("merchant-private"), key)
    key.chmod(0o644)
    require_refused(await shell.pay(salaries, env={"LIANLIAN_PRIVATE_KEY_FILE": str(key)}), 2, str(key), "chmod 600")
    gateway.require_untouched()


@pytest.mark.parametrize(
    ("name", "file"),
    [("PRIVATE", "gateway-public"), ("GATEWAY_PUBLIC", "stranger-private"), ("GATEWAY_PUBLIC", "merchant-public")],
)
def test_keys_mixed_up(here: Here, keys: Keys, salaries: Path, name: str, file: str) -> None:
    """A public key for a private one, the other way round, or our own for theirs."""
    require_refused(here("pay", salaries, "--yes", **{f"LIANLIAN_{name}_KEY_FILE": str(keys.path(file))}), 2, "key")


async def test_fast_clock_for_a_gateway_that_is_not_here(shell: Shell, salaries: Path) -> None:
    """--time-scale is for a gateway on this machine; another host is not even looked up."""
    for base_url in (None, "https://127.0.0.1.lianlianpay.com/"):
        ran = await shell.pay(salaries, scale=2, env={"LIANLIAN_BASE_URL": base_url})
        require_refused(ran, 2, "clock", "this machine")


# A name that begins like an address of this machine is still anybody's.
@pytest.mark.parametrize(
    "base_url",
    [
        "http://instantpay.lianlianpay.com/paymentapi/", "https://lianlianpay.com.example.com/", "ftp://127.0.0.1/",
        "https://127.example.invalid/paymentapi/", "https://127.0.0.1.example.invalid/paymentapi/", "x",
    ],
)  # fmt: skip
def test_address_that_cannot_be_the_gateways(here: Here, salaries: Path, base_url: str) -> None:
    """Orders hold names and card numbers: they go to LianLian over TLS, or to this machine, or nowhere."""
    require_refused(here("keys", "check", LIANLIAN_BASE_URL=base_url), 2)


# ---------------------------------------------------------------------- the journal, the outcomes


async def test_journal_that_is_forgotten(shell: Shell, salaries: Path) -> None:
    """A batch needs a journal that survives it."""
    require_refused(await shell.pay(salaries, env={"LIANLIAN_JOURNAL": "memory:"}), 2, "journal")


async def test_journal_that_is_not_ours(gateway: Gateway, shell: Shell, salaries: Path) -> None:
    """Another program's database, or a text, is refused and left as it was."""
    with sqlite3.connect(shell.journal) as other:
        other.execute("CREATE TABLE customers (name TEXT)")
    other.close()
    shell.journal.chmod(0o600)
    before = shell.journal.read_bytes()
    require_refused(await shell.pay(salaries), 2, str(shell.journal), "not a journal")
    assert shell.journal.read_bytes() == before
    shell.journal.write_bytes(b"Dear diary, " * 200)
    require_refused(await shell.pay(salaries), 2, str(shell.journal), "not a journal")
    gateway.require_untouched()


async def test_journal_that_others_can_read(gateway: Gateway, shell: Shell, salaries: Path) -> None:
    """Card numbers and names lie in it: a journal that others can read is refused."""
    await pause_in_journal(shell.journal, "it is there")
    shell.journal.chmod(0o644)
    require_refused(await shell.pay(salaries), 2, str(shell.journal), "chmod 600")
    gateway.require_untouched()


async def test_journal_in_a_folder_that_is_not_there(gateway: Gateway, shell: Shell, salaries: Path) -> None:
    """A journal's folder is not made by itself: a mistyped path must not start an empty journal."""
    path = shell.folder / "nowhere" / "payouts.db"
    require_refused(await shell.pay(salaries, env={"LIANLIAN_JOURNAL": f"sqlite:///{path}"}), 2, str(path.parent))
    gateway.require_untouched()


def _unshared(*kinds: str) -> tuple[str, ...]:
    """The prefix of a command that has namespaces of its own; skips where that is not allowed."""
    prefix = ("unshare", *kinds)
    if (
        shutil.which("unshare") is None
        or subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip(f"{' '.join(prefix)} is not allowed here")
    return prefix


def _with_mount(command: str) -> tuple[str, ...]:
    """The prefix of a command that sees a mount which nobody else sees."""
    prefix = (*_unshared("--mount", "--propagation", "private"), "sh", "-ec", f'{command}; exec "$@"', "sh")
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    return prefix


async def test_read_only_journal(gateway: Gateway, shell: Shell, salaries: Path) -> None:
    """A journal on a file system that cannot be written: nothing can be written down, so nothing is sent."""
    place = shell.folder / "journals"
    place.mkdir()
    env = {"LIANLIAN_JOURNAL": f"sqlite:///{place / 'payouts.db'}"}
    await pause_in_journal(place / "payouts.db", "it is there")
    prefix = _with_mount(f"mount --bind {place} {place} && mount -o remount,ro,bind {place}")
    require_refused(await shell.pay(salaries, env=env, prefix=prefix), 3, str(place), "cannot be written")
    gateway.require_untouched()


async def test_full_disk_before_the_first_payment(gateway: Gateway, shell: Shell, salaries: Path) -> None:
    """A disk without room for a journal: nothing is sent."""
    place = shell.folder / "journals"
    place.mkdir()
    prefix = _with_mount(f"mount -t tmpfs -o size=16k,mode=700 tmpfs {place}")
    env = {"LIANLIAN_JOURNAL": f"sqlite:///{place / 'payouts.db'}"}
    require_refused(await shell.pay(salaries, env=env, prefix=prefix), 3, str(place))
    gateway.require_untouched()


async def test_a_user_without_a_name(shell: Shell) -> None:
    """In a container the user may have a number only: `pause` takes it or asks for --by; there is no traceback."""
    prefix = _unshared("--user", f"--map-user={NOBODY}")
    nameless: dict[str, str | None] = dict.fromkeys(("USER", "LOGNAME", "LNAME", "USERNAME"))
    await make_journal(shell.journal)
    ran = await shell.run("pause", "--reason", "audit", env=nameless, prefix=prefix)
    assert ran.code in (0, 2), ran.text
    assert str(NOBODY) in ran.text or "--by" in ran.text


async def test_outcomes_that_cannot_be_written(gateway: Gateway, shell: Shell, salaries: Path) -> None:
    """Where the outcomes cannot be written is found out before money leaves; nothing else is written over."""
    (shell.folder / "letters.txt").write_text("Dear sir\n")
    before = salaries.read_bytes()

    async def at(place: Path) -> None:
        ran = await shell.run("pay", salaries, "--yes", "--time-scale", 240, "--outcomes", place)
        require_refused(ran, 2, str(place))

    await asyncio.gather(*map(at, (shell.folder / "nowhere" / "o.csv", shell.folder / "letters.txt", salaries)))
    assert salaries.read_bytes() == before
    assert (shell.folder / "letters.txt").read_text() == "Dear sir\n"
    gateway.require_untouched()
    assert gateway.asked("query") == 0


# ---------------------------------------------------------------------- the person


async def test_no_at_the_prompt(gateway: Gateway, shell: Shell, salaries: Path) -> None:
    """No, nothing, or nobody there to answer: nothing is sent or written down, and it is said so."""
    for ran in await asyncio.gather(
        *(shell.run(*shell.pay_line(salaries), stdin=answer) for answer in (b"n\n", b"", b"vielleicht\nN\n"))
    ):
        assert ran.code == 2, ran.text
        assert "3 payouts, 6.06 yuan" in ran.out
        assert "nothing was sent" in ran.said, ran.err
    gateway.require_untouched()
    assert await shell.status() == []
    assert not shell.outcomes_path.exists()


async def test_yes_at_the_prompt(gateway: Gateway, shell: Shell, salaries: Path) -> None:
    """A yes pays."""
    ran = await shell.run(*shell.pay_line(salaries), stdin=b"y\n")
    assert ran.code == 0, ran.text
    assert gateway.ledger.summary().paid_once == 3


async def test_twins_are_asked_about(gateway: Gateway, shell: Shell) -> None:
    """Two rows with the same amount and account: they are named by line, masked, and asked about before anything."""
    lines = [*rows(2), {**rows(1)[0], "key": "salary-2026-11/again"}]
    file = write_csv(shell.folder / "twins.csv", lines)
    ran = await shell.run(*shell.pay_line(file), stdin=b"n\ny\ny\n")
    assert ran.code == 2, ran.text
    assert "ines 2, 4" in ran.text
    assert lines[0]["card_no"] not in ran.text
    gateway.require_untouched()
    ran = await shell.run(*shell.pay_line(file), stdin=b"y\ny\n")
    assert ran.code == 1, ran.text  # the gateway suspects a duplicate as well, and that is a person's matter
    assert {row["state"] for row in shell.outcomes().values()} == {"PAID", "REVIEW"}


async def test_twins_with_yes_are_warned_of(gateway: Gateway, shell: Shell) -> None:
    """--yes answers the question, and the warning is still printed."""
    file = write_csv(shell.folder / "twins.csv", [*rows(1), {**rows(1)[0], "key": "again"}])
    ran = await shell.pay(file)
    assert "lines 2, 3" in ran.said
    assert "--yes" in ran.said
