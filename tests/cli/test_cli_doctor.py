"""`doctor`: every step of a right set-up is ok, each wrong one is named with what to do, and nothing is moved or made."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_world import (
    OID_PARTNER,
    TIME_SCALE,
    Gateway,
    Keys,
    Ran,
    Shell,
    a_gateway,
    a_row,
    pause_in_journal,
    rows,
    write_csv,
)

from lianlian_async.cli.doctor_gateway import GATEWAY_STEPS, judged
from lianlian_async.cli.findings import Verdict, exit_status, ok, warning, wrong
from lianlian_async.clock import SystemClock
from lianlian_async.config import Settings
from lianlian_async.journal import Orphan
from lianlian_async.journal.sqlite import SqliteJournal
from lianlian_async.resolver import Evidence, Outcome, Source
from lianlian_async.testing.keys import make_keys
from lianlian_async.testing.simulator import Behaviour

Here = Callable[..., Ran]
CARD, NAME = "6228480223123456789", "欧阳修文"
VERDICTS = {"ok", "warning", "wrong", "skipped"}


def read(ran: Ran) -> dict[str, list[dict[str, str]]]:
    """The findings of `doctor --json` by step."""
    found: dict[str, list[dict[str, str]]] = {}
    for line in ran.out.splitlines():
        finding = json.loads(line)
        assert list(finding) == ["step", "verdict", "found", "advice"]
        assert finding["verdict"] in VERDICTS
        found.setdefault(finding["step"], []).append(finding)
    return found


def verdict(found: dict[str, list[dict[str, str]]], step: str) -> str:
    """The worst verdict of a step."""
    rank = ("wrong", "warning", "skipped", "ok")
    return min((finding["verdict"] for finding in found[step]), key=rank.index)


def said(found: dict[str, list[dict[str, str]]], step: str) -> str:
    return " ".join(f"{finding['found']}: {finding['advice']}" for finding in found[step])


async def doctor(shell: Shell, *more: object, code: int = 0, **env: str | None) -> dict[str, list[dict[str, str]]]:
    ran = await shell.run("doctor", "--json", *more, env=env)
    assert ran.code == code, ran.text
    return read(ran)


# ---------------------------------------------------------------------- all is well


async def test_a_right_set_up(keys: Keys, shell: Shell) -> None:
    """Keys of full size, a real-time gateway, a journal: no step is wrong, each is a line, and no money has moved."""
    own = Keys(shell.folder)
    for name in ("merchant", "gateway"):
        make_keys(shell.folder, name, 2048)
    async with a_gateway(own, scale=1) as gateway:
        shell.base_url = gateway.base_url
        shell.changes = {
            "LIANLIAN_PRIVATE_KEY_FILE": str(own.path("merchant-private")),
            "LIANLIAN_GATEWAY_PUBLIC_KEY_FILE": str(own.path("gateway-public")),
        }
        await pause_in_journal(shell.journal, "audit")
        assert (await shell.run("unpause", "--by", "chen")).code == 0
        found = await doctor(shell)
        assert {step for step in found if verdict(found, step) not in ("ok", "skipped")} <= {"journal"}, found
        assert {step for step in found if verdict(found, step) == "skipped"} == {"certificate"}
        for step in ("settings", "openssl", "private key", "gateway key", "key pair", "merchant", "notify_url",
                     *GATEWAY_STEPS, "journal", "journal mode", "durability", "chains", "journal clock", "pause",
                     "people", "work", "orphans"):  # fmt: skip
            assert step in found, step
        ran = await shell.run("doctor")
        assert ran.code == 0, ran.text
        lines = ran.out.splitlines()
        assert len(lines) == sum(map(len, found.values()))
        assert all(line.split()[0] in VERDICTS for line in lines)
        gateway.require_untouched()


async def test_what_the_journal_holds(gateway: Gateway, shell: Shell) -> None:
    """Payouts that wait for people, a pause, and notifications about unknown payouts are warnings; nobody is given away."""
    gateway.simulator.script({"acct_name": NAME}, pay=["4003"])
    lines = [*rows(1), a_row(2, card_no=CARD, acct_name=NAME)]
    assert (await shell.pay(write_csv(shell.folder / "salaries.csv", lines))).code == 1
    assert (await shell.run("pause", "--reason", "audit", "--by", "chen")).code == 0
    journal = SqliteJournal(shell.journal)
    await journal.open()
    now = SystemClock().now()
    await journal.note_orphan(Orphan(OID_PARTNER, "STRANGE-1", now, {"no_order": "STRANGE-1", "card_no": CARD}))
    await journal.close()
    requests = gateway.asked("pay")
    ran = await shell.run("doctor", "--json", "--time-scale", TIME_SCALE)
    assert ran.code == 0, ran.text
    found = read(ran)
    assert {step: verdict(found, step) for step in ("pause", "people", "orphans", "chains", "clock")} == {
        "pause": "warning", "people": "warning", "orphans": "warning", "chains": "ok", "clock": "skipped",
    }  # fmt: skip
    assert "1 payouts wait for a person" in said(found, "people")
    assert "audit" in said(found, "pause")
    assert "STRANGE-1" in said(found, "orphans")
    assert "2 payouts" in said(found, "chains")
    for secret in (CARD, NAME):
        assert secret not in ran.text
    assert gateway.asked("pay") == requests


async def test_nobody_drives(keys: Keys, shell: Shell) -> None:
    """A payout that is long due and that nobody is at: start a worker."""
    async with a_gateway(keys, behaviour=Behaviour(settle_s=(3000.0, 3000.0))) as gateway:
        shell.base_url = gateway.base_url
        ran = await shell.pay(write_csv(shell.folder / "salaries.csv", rows(1)), "--wait-s", 5)
        assert ran.code == 1
        await asyncio.sleep(4)
        found = await doctor(shell, "--time-scale", TIME_SCALE)
        assert verdict(found, "work") == "warning"
        assert "`worker`" in said(found, "work")


# ---------------------------------------------------------------------- the gateway turns us down


@pytest.mark.parametrize(
    ("change", "step", "code"),
    [
        ({"LIANLIAN_PRIVATE_KEY_FILE": "stranger-private"}, "our signature", 2),
        ({"LIANLIAN_GATEWAY_PUBLIC_KEY_FILE": "stranger-public"}, "answers", 2),
        ({"LIANLIAN_OID_PARTNER": "201606020000150063"}, "merchant no", 2),
        ({"address": "not allowed"}, "our address", 2),
        ({"LIANLIAN_BASE_URL": "http://127.0.0.1:9/paymentapi/"}, "gateway", 3),
        ({"outage": "query"}, "gateway", 3),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_what_the_gateway_does_not_accept(
    gateway: Gateway, shell: Shell, change: dict[str, str], step: str, code: int
) -> None:
    """The step it is about is wrong and says what to do; what its answer does not tell is skipped, never ok."""
    if "address" in change:
        gateway.simulator.operator.set_ip_allowed(False)
    if "outage" in change:
        gateway.simulator.operator.set_outage("query")
    env = {
        name: str(shell.keys.path(value)) if name.endswith("_FILE") else value
        for name, value in change.items() if name.startswith("LIANLIAN_")
    }  # fmt: skip
    found = await doctor(shell, "--time-scale", TIME_SCALE, code=code, **env)
    assert verdict(found, step) == "wrong", found
    assert said(found, step).rstrip(": ") != ""
    later = GATEWAY_STEPS[GATEWAY_STEPS.index(step) + 1 :]
    assert {verdict(found, name) for name in later} <= {"skipped"}, found
    gateway.require_untouched()


@pytest.mark.parametrize(("offset_s", "expected", "code"), [(0, "ok", 0), (-120, "warning", 0), (-900, "wrong", 2)])
async def test_the_clock(keys: Keys, shell: Shell, offset_s: float, expected: str, code: int) -> None:
    """Compared with the gateway's Date header."""
    async with a_gateway(keys, scale=1, behaviour=Behaviour(clock_offset_s=offset_s)) as gateway:
        shell.base_url = gateway.base_url
        found = await doctor(shell, code=code)
        assert verdict(found, "clock") == expected, found


async def test_every_outcome_of_the_probe(keys: Keys, shell: Shell) -> None:
    """Whatever an answer says, each step has one line, and after a fault nothing is told as right that was not seen."""
    merchant = Settings.load(environ=shell.environment()).merchant()
    now = SystemClock().now()
    for outcome in Outcome:
        if outcome in (Outcome.RESUMED, Outcome.AMENDED, Outcome.APPROVED, Outcome.DECLINED, Outcome.REPLACED):
            continue
        for code in ("8901", "9999", "1001", "1004", "0000"):
            news = Evidence(Source.QUERY, outcome, at=now, asked_at=now, ret_code=code, ret_msg="说明", detail="detail")
            findings = judged(merchant, news)
            steps = [finding.step for finding in findings]
            assert sorted(steps) == sorted(step for step in GATEWAY_STEPS if step != "clock")
            good = outcome is Outcome.ANSWERED and code in ("8901", "0000")
            assert (sum(finding.verdict is Verdict.OK for finding in findings) == 5) == (
                good or (outcome is Outcome.MISMATCHED and code in ("8901", "0000"))
            ), (outcome, code)


# ---------------------------------------------------------------------- the set-up


def test_nothing_is_set(here: Here) -> None:
    """Every missing setting is named; what needs them is skipped."""
    names = ("OID_PARTNER", "PRIVATE_KEY_FILE", "GATEWAY_PUBLIC_KEY_FILE", "JOURNAL", "NOTIFY_URL", "BASE_URL")
    ran = here("doctor", "--json", **dict.fromkeys((f"LIANLIAN_{name}" for name in names), None))
    assert ran.code == 2, ran.text
    found = read(ran)
    for name in ("oid_partner", "private_key_file", "gateway_public_key_file", "journal"):
        assert name in said(found, "settings")
    for step in ("private key", "gateway key", "key pair", "merchant", "gateway", "clock", "journal"):
        assert verdict(found, step) == "skipped", step
    assert verdict(found, "notify_url") == "warning"


@pytest.mark.parametrize(
    ("env", "step", "expected", "code"),
    [
        ({"LIANLIAN_PRIVATE_KEY_FILE": "nowhere.pem"}, "private key", "wrong", 2),
        ({"LIANLIAN_PRIVATE_KEY_FILE": "GATEWAY_PUBLIC"}, "private key", "wrong", 2),
        ({"LIANLIAN_PRIVATE_KEY_FILE": "OPEN"}, "private key", "wrong", 2),
        ({"LIANLIAN_GATEWAY_PUBLIC_KEY_FILE": "MERCHANT_PUBLIC"}, "key pair", "wrong", 2),
        ({}, "key pair", "warning", 3),
        ({"LIANLIAN_OID_PARTNER": "12x"}, "merchant", "wrong", 2),
        ({"LIANLIAN_BASE_URL": "https://gateway.example.com/"}, "merchant", "wrong", 2),
        ({"LIANLIAN_CA_FILE": "nowhere.pem"}, "ca_file", "wrong", 2),
        ({"LIANLIAN_NOTIFY_URL": None}, "notify_url", "warning", 3),
        ({"LIANLIAN_NOTIFY_URL": "http://a.example.com/n"}, "notify_url", "wrong", 2),
        ({"LIANLIAN_NOTIFY_URL": "https://10.0.0.5/n"}, "notify_url", "wrong", 2),
        ({"LIANLIAN_NOTIFY_URL": "https://localhost/n"}, "notify_url", "ok", 3),
        ({"LIANLIAN_NOTIFY_URL": "https://payouts.internal/n"}, "notify_url", "warning", 3),
        ({"LIANLIAN_NOTIFY_URL": "https://8.8.8.8/n"}, "notify_url", "ok", 3),
        ({"LIANLIAN_JOURNAL": "memory:"}, "journal", "warning", 3),
        ({"LIANLIAN_JOURNAL": "payouts.db"}, "journal", "wrong", 2),
        ({"LIANLIAN_JOURNAL": "sqlite:///nowhere/payouts.db"}, "journal", "wrong", 2),
        ({}, "journal", "skipped", 3),
    ],
)  # fmt: skip
def test_one_thing_is_not_right(
    here: Here, keys: Keys, tmp_path: Path, env: dict[str, str | None], step: str, expected: str, code: int
) -> None:
    """Nobody listens at the gateway's port here, so what is no fault of the configuration ends with 3."""
    open_key = tmp_path / "open.pem"
    shutil.copy(keys.path("merchant-private"), open_key)
    open_key.chmod(0o644)
    paths = {
        "GATEWAY_PUBLIC": keys.path("gateway-public"), "MERCHANT_PUBLIC": keys.path("merchant-public"), "OPEN": open_key,
    }  # fmt: skip
    ran = here(
        "doctor",
        "--json",
        "--time-scale",
        1000,
        **{n: str(paths.get(v or "", v)) if v else None for n, v in env.items()},
    )
    assert ran.code == code, ran.text
    found = read(ran)
    if step == "journal" and expected == "skipped" and verdict(found, step) == "warning":
        expected = "warning"  # the tests' folder lies in memory
    assert verdict(found, step) == expected, found[step]
    if expected == "wrong":
        assert len(said(found, step)) > 20
    assert not (tmp_path / "payouts.db").exists(), "doctor made a journal"


def test_a_machine_that_is_not_on_this_one(here: Here) -> None:
    """LianLian cannot notify this machine's loopback; and the real gateway is asked on a real clock only."""
    ran = here(
        "doctor", "--json", LIANLIAN_BASE_URL="https://instantpay.lianlianpay.com/paymentapi/",
        LIANLIAN_NOTIFY_URL="https://127.0.0.1/n", LIANLIAN_PRIVATE_KEY_FILE=None,
    )  # fmt: skip
    assert ran.code == 2
    assert "cannot reach" in said(read(ran), "notify_url")


def test_a_configuration_that_cannot_be_read(here: Here, tmp_path: Path) -> None:
    """One line for it, one for all that could not be looked at."""
    config = tmp_path / "payouts.toml"
    config.write_text("oid_partner = 1")
    ran = here("doctor", "--json", "--config", config)
    assert ran.code == 2
    found = read(ran)
    assert (verdict(found, "settings"), verdict(found, "all else")) == ("wrong", "skipped")


# ---------------------------------------------------------------------- the journal


def a_journal(path: Path) -> None:
    asyncio.run(pause_in_journal(path, "it is there"))


def test_a_journal_that_others_may_read(here: Here, tmp_path: Path) -> None:
    a_journal(tmp_path / "payouts.db")
    (tmp_path / "payouts.db").chmod(0o640)
    ran = here("doctor", "--json", "--time-scale", 1000)
    assert ran.code == 2
    found = read(ran)
    assert "chmod 600" in said(found, "journal mode")
    assert verdict(found, "durability") == "wrong"
    assert "chains" not in found


def test_a_file_that_is_no_journal(here: Here, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "payouts.db")
    other.execute("CREATE TABLE customers (name)")
    other.close()
    (tmp_path / "payouts.db").chmod(0o600)
    ran = here("doctor", "--json", "--time-scale", 1000)
    assert ran.code == 2
    assert "not a journal" in said(read(ran), "durability")


async def test_a_payout_that_was_tampered_with(gateway: Gateway, shell: Shell) -> None:
    """What the gateway said of a paid payout was changed in the file: the journal is not to be used, and does not open."""
    assert (await shell.pay(write_csv(shell.folder / "salaries.csv", rows(2)))).code == 0
    _tamper(shell.journal)
    found = await doctor(shell, "--time-scale", TIME_SCALE, code=3)
    assert verdict(found, "journal") == "wrong", found
    assert "behind the journal's back" in said(found, "journal")


def _tamper(path: Path) -> None:
    """As somebody with the file and without scruples would: the triggers first."""
    db = sqlite3.connect(path, isolation_level=None)
    for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
        db.execute(f'DROP TRIGGER "{name}"')
    assert db.execute("UPDATE evidence SET said = '{}' WHERE source = 'pay'").rowcount
    db.close()


async def test_the_journal_is_ahead_of_the_clock(gateway: Gateway, shell: Shell) -> None:
    """An accelerated clock wrote it, and now the machine's own is asked: nothing would be sent, and doctor says why."""
    assert (await shell.pay(write_csv(shell.folder / "salaries.csv", rows(1)))).code == 0
    found = await doctor(shell, code=2)
    assert verdict(found, "journal clock") == "wrong"


async def test_a_journal_that_cannot_be_looked_at(gateway: Gateway, shell: Shell) -> None:
    """Another process keeps it locked: the journal cannot be used now, 3."""
    await pause_in_journal(shell.journal, "it is there")
    lock = os.open(shell.journal.with_name("payouts.db-lock"), os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        found = await doctor(shell, "--time-scale", TIME_SCALE, code=3)
    finally:
        os.close(lock)
    assert "locked" in said(found, "journal")


def test_the_status_of_a_report() -> None:
    """What is wrong in the configuration comes before what cannot be used."""
    down = wrong("gateway", "down", unusable=True)
    assert exit_status([ok("a", "x"), warning("b", "x", "y")]) == 0
    assert exit_status([ok("a", "x"), down]) == 3
    assert exit_status([down, wrong("c", "x")]) == 2
