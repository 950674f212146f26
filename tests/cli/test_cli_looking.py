"""`status`, `query`, `due`, `explain`, `keys`, `--help`: what is said is true, readable by scripts, and gives nobody away."""

from __future__ import annotations

import asyncio
import json
import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_world import (
    OUTCOME_COLUMNS,
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
from click.testing import CliRunner

from lianlian_async.cli import main
from lianlian_async.protocol.fields import FIELDS
from lianlian_async.protocol.ret_codes import RET_CODES, UNKNOWN_CODE, Source
from lianlian_async.resolver import ROWS, RULES
from lianlian_async.testing.simulator import RET_MSG, Behaviour, Step

NAME = "欧阳修文"
Here = Callable[..., Ran]
NOTHING_SET: dict[str, str | None] = dict.fromkeys(
    f"LIANLIAN_{name}"
    for name in ["OID_PARTNER", "PRIVATE_KEY_FILE", "GATEWAY_PUBLIC_KEY_FILE", "JOURNAL", "NOTIFY_URL", "BASE_URL"]
)
COMMANDS = (
    "demo", "simulate", "pay", "worker", "reconcile", "status", "query", "due", "explain", "review", "review serve",
    "review user", "review list", "review show", "review approve", "review decline", "resume", "amend", "replace",
    "pause", "unpause", "keys", "keys generate", "keys check", "doctor",
)  # fmt: skip


async def test_status_of_everything(gateway: Gateway, shell: Shell) -> None:
    """Counts and money by state for a person; one object a payout, with the outcomes' names, for a script."""
    gateway.simulator.script({"acct_name": NAME}, pay=["4003"])
    file = write_csv(shell.folder / "salaries.csv", [*rows(2), a_row(3, acct_name=NAME)])
    assert (await shell.pay(file)).code == 1
    outcomes = shell.outcomes()
    seen = await shell.run("status")
    assert seen.code == 0
    assert re.search(r"PAID\W+2\W+3\.03\b", seen.out), seen.out
    assert re.search(r"REVIEW\W+1\W+3\.03\b", seen.out), seen.out
    payouts = await shell.status()
    assert [list(payout) for payout in payouts] == [OUTCOME_COLUMNS] * 3
    for payout in payouts:
        assert {name: value or "" for name, value in payout.items()} == outcomes[payout["key"]]


async def test_status_of_one(gateway: Gateway, shell: Shell) -> None:
    """One payout by its number; a number that is not in the journal is said to be so, status 2."""
    file = write_csv(shell.folder / "salaries.csv", rows(2))
    assert (await shell.pay(file)).code == 0
    number = shell.outcomes()[a_row(1)["key"]]["no_order"]
    [payout] = await shell.status(number)
    assert (payout["no_order"], payout["state"], payout["money_order"]) == (number, "PAID", "1.01")
    assert "PAID" in (await shell.run("status", number)).out
    commands = (("status",), ("query", "--time-scale", 240), ("explain",))
    for ran in await asyncio.gather(*(shell.run(*command, "NO-SUCH-NUMBER-99") for command in commands)):
        assert ran.code == 2, ran.text
        assert "NO-SUCH-NUMBER-99" in ran.said


@pytest.mark.parametrize("line", ["status", "status --json", "due", "explain NO-SUCH-NUMBER-99"])
def test_a_journal_that_is_not_there(here: Here, tmp_path: Path, line: str) -> None:
    """A mistyped path must not read as "nothing was paid": whoever only looks makes no journal."""
    ran = here(*line.split())
    assert ran.code in (2, 3), ran.text
    assert str(tmp_path / "payouts.db") in ran.said
    assert not (tmp_path / "payouts.db").exists()


async def test_query(gateway: Gateway, shell: Shell) -> None:
    """Asks the gateway now: what changed since is known afterwards."""
    file = write_csv(shell.folder / "salaries.csv", rows(1))
    assert (await shell.pay(file)).code == 0
    [payout] = await shell.status()
    gateway.simulator.operator.cancel(payout["no_order"])
    ran = await shell.run("query", payout["no_order"], "--json", "--time-scale", 240)
    assert ran.code == 0, ran.text
    assert json.loads(ran.out)["state"] == "REFUNDED"
    assert [p["state"] for p in await shell.status()] == ["REFUNDED"]


async def test_query_without_a_gateway(gateway: Gateway, shell: Shell) -> None:
    """Nobody answered: what is known is shown, it is said that it is old, and the status is 3."""
    file = write_csv(shell.folder / "salaries.csv", rows(1))
    assert (await shell.pay(file)).code == 0
    [payout] = await shell.status()
    shell.base_url = "http://127.0.0.1:9/paymentapi/"
    ran = await shell.run("query", payout["no_order"], "--json", "--time-scale", 240)
    assert ran.code == 3, ran.text
    assert json.loads(ran.out)["state"] == "PAID"
    assert ran.said


async def test_due(keys: Keys, shell: Shell) -> None:
    """What has not ended, with what it waits for; what has ended is left out."""
    async with a_gateway(keys, behaviour=Behaviour(settle_s=(1.0, 2.0))) as gateway:
        shell.base_url = gateway.base_url
        gateway.simulator.script({"acct_name": NAME}, pay=["4003"])
        gateway.simulator.script({"acct_name": "张伟"}, timeline=[("PROCESSING", 0)])
        lines = [*rows(1), a_row(2, acct_name=NAME), a_row(3, acct_name="张伟")]
        ran = await shell.pay(write_csv(shell.folder / "salaries.csv", lines), "--wait-s", 60)
        assert ran.code == 1, ran.text
    ran = await shell.run("due", "--json")
    assert ran.code == 0
    waiting = {payout["key"]: (payout["state"], payout["step"]) for payout in map(json.loads, ran.out.splitlines())}
    assert waiting == {a_row(2)["key"]: ("REVIEW", "DECIDE"), a_row(3)["key"]: ("IN_PROGRESS", "QUERY")}
    assert "2 payouts" in (await shell.run("due")).out


# ---------------------------------------------------------------------- explain


@pytest.mark.parametrize("code", [*RET_MSG, "4103", "0001"])
def test_explain_code(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every code of the specification in the gateway's own words, and what follows after each call; no settings needed."""
    monkeypatch.delenv("LIANLIAN_JOURNAL", raising=False)
    ran = CliRunner().invoke(main, ["explain", code], env={"COLUMNS": "200"})
    assert ran.exit_code == 0, ran.output
    plain = re.sub(r"\s", "", ran.output).replace("，", ",")
    assert code in plain
    if code in RET_MSG:
        assert RET_MSG[code].partition(":")[0].partition("{")[0] in plain
    for word in ("pay", "confirm", "query", "never"):
        assert word in plain
    assert "None" not in plain


async def test_explain_code_as_a_command(shell: Shell) -> None:
    """The same from outside; nothing has to be configured for it, and no journal is made by it."""
    ran = await shell.run("explain", "9999", env=NOTHING_SET)
    assert ran.code == 0, ran.text
    assert "系统错误" in ran.out
    assert not shell.journal.exists()


async def test_alarms_are_shown(gateway: Gateway, shell: Shell) -> None:
    """A record that is shown and then denied: said on stderr when it comes, and shown by whatever shows the payout."""
    gateway.simulator.script({"acct_name": NAME}, query=["8901"], after_s=60.0)
    file = write_csv(shell.folder / "salaries.csv", [a_row(1, acct_name=NAME), *rows(1, 2)])
    ran = await shell.pay(file)
    number = shell.outcomes()[a_row(1)["key"]]["no_order"]
    assert f"{number}: The gateway said 8901" in ran.said
    assert ran.said.count("8901") == 1
    for text in (ran.out, *[(await shell.run(*line)).out for line in (("status", number), ("explain", number))]):
        assert "alarm: The gateway said 8901" in " ".join(text.split())
    assert [len(payout.get("alarms", ())) for payout in await shell.status()] in ([1, 0], [0, 1])


@pytest.mark.parametrize("journal", ["sqlite:///nowhere/x.db", "sqlite:///x.db", "postgres://", "sqlite:///diary.txt"])
def test_explain_code_whatever_the_journal_is(here: Here, tmp_path: Path, journal: str) -> None:
    """A code means the same without a journal, with a mistyped one and with one that cannot be read; none is made."""
    (tmp_path / "diary.txt").write_text("Dear diary, " * 200)
    (tmp_path / "diary.txt").chmod(0o600)
    ran = here("explain", "9999", LIANLIAN_JOURNAL=journal)
    assert ran.code == 0, ran.text
    assert ran.err == ""
    assert not (tmp_path / "x.db").exists()


async def test_explain_payout_gives_nobody_away(gateway: Gateway, shell: Shell) -> None:
    """The evidence behind a review, in order; no command shows the card, the name or the confirm code."""
    row = a_row(1, acct_name=NAME)
    gateway.simulator.script({"acct_name": NAME}, pay=["4003"])
    ran = await shell.pay(write_csv(shell.folder / "salaries.csv", [row]))
    [payout] = await shell.status()
    number = payout["no_order"]
    [order] = gateway.simulator.exchange.engine.book.of(number)
    assert order.confirm_code
    explained = await shell.run("explain", number, env={"COLUMNS": "200"})
    assert explained.code == 0, explained.text
    assert explained.out.index("attempt begun") < explained.out.index("收款银行卡和姓名不一致")
    others = await asyncio.gather(
        shell.run("status", number), shell.run("status", "--json"), shell.run("due", env={"COLUMNS": "200"}),
        shell.run("query", number, "--time-scale", 240), shell.run(*shell.pay_line(shell.folder / "salaries.csv", "--yes")),
    )  # fmt: skip
    written = shell.outcomes_path.read_text("utf-8-sig")
    for text in (ran.text, explained.text, written, *(other.text for other in others)):
        for secret in (row["card_no"], NAME, order.confirm_code):
            assert secret not in text, text


async def test_explain_hides_what_the_gateway_repeats(gateway: Gateway, shell: Shell) -> None:
    """A gateway may name the payee in its own words; the evidence shows them as everything else does, masked."""
    row = a_row(1, acct_name=NAME)
    told = Step(ret_code="4003", members={"ret_msg": f"{row['card_no']}的户名不是{NAME}"})
    gateway.simulator.script({"acct_name": NAME}, pay=[told])
    await shell.pay(write_csv(shell.folder / "salaries.csv", [row]))
    [payout] = await shell.status()
    explained = await shell.run("explain", payout["no_order"], env={"COLUMNS": "200"})
    assert "户名不是" in explained.out
    assert row["card_no"] not in explained.text
    assert NAME not in explained.text


async def test_explain_a_number_of_four_digits(gateway: Gateway, shell: Shell) -> None:
    """A payout whose own number looks like a code is not hidden by the code's explanation."""
    await shell.pay(write_csv(shell.folder / "salaries.csv", [a_row(1, key=None, no_order="7777")]))
    ran = await shell.run("explain", "7777", env={"COLUMNS": "200"})
    assert ran.code == 0
    assert "attempt begun" in ran.out


# ---------------------------------------------------------------------- keys


async def test_keys_generate(shell: Shell) -> None:
    """A private key for its owner alone, whatever the umask; the public half ready for the portal; and both work."""
    ran = await shell.run("keys", "generate", umask=0)
    assert ran.code == 0, ran.text
    private, public = shell.folder / "merchant-private.pem", shell.folder / "merchant-public.txt"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE(public.stat().st_mode) & 0o022 == 0
    bare = public.read_text().strip()
    assert re.fullmatch("[A-Za-z0-9+/=]{300,}", bare)
    assert bare in ran.out
    assert "PRIVATE KEY--" not in ran.text
    assert private.read_text().splitlines()[1] not in ran.text
    env = {"LIANLIAN_PRIVATE_KEY_FILE": "merchant-private.pem"}
    checked = await shell.run("keys", "check", env=env)
    assert checked.code == 0, checked.text
    assert bare in checked.out
    generated = Keys(shell.folder)
    (shell.folder / "merchant-public.pem").write_text(bare)
    (shell.folder / "gateway-private.pem").write_bytes(shell.keys.read("gateway-private"))
    async with a_gateway(generated) as gateway:
        shell.base_url = gateway.base_url
        assert (await shell.pay(write_csv(shell.folder / "salaries.csv", rows(1)), env=env)).code == 0


async def test_keys_are_never_written_over(shell: Shell) -> None:
    """A key that exists stays, and when one file of the pair exists the other is not made either."""
    public = shell.folder / "merchant-public.txt"
    public.write_text("mine\n")
    ran = await shell.run("keys", "generate")
    assert ran.code == 2, ran.text
    assert "merchant-public.txt" in ran.said
    assert not (shell.folder / "merchant-private.pem").exists(), "half a pair was made"
    public.unlink()
    private = shell.folder / "merchant-private.pem"
    private.write_text("mine\n")
    ran = await shell.run("keys", "generate")
    assert ran.code == 2, ran.text
    assert "merchant-private.pem" in ran.said
    assert private.read_text() == "mine\n"
    assert not public.exists()
    ran = await shell.run("keys", "generate", "--out", "nowhere")
    assert ran.code == 2, ran.text
    assert "nowhere" in ran.said


async def test_keys_check(shell: Shell) -> None:
    """Warns of short keys on stderr; refuses a wrong file; never shows the private key."""
    ran = await shell.run("keys", "check")
    assert ran.code == 0, ran.text
    assert "1024 bits" in ran.said
    assert shell.keys.path("merchant-private").read_text().splitlines()[1] not in ran.text
    ran = await shell.run("keys", "check", env={"LIANLIAN_PRIVATE_KEY_FILE": "nowhere.pem"})
    assert ran.code == 2, ran.text
    assert "nowhere.pem" in ran.said


# ---------------------------------------------------------------------- help, version, usage


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_of_every_command(here: Here, command: str) -> None:
    """--help anywhere: what the command does, within the width of a terminal; nothing has to be configured."""
    ran = here(*command.split(), "--help", **NOTHING_SET)
    assert ran.code == 0, ran.text
    assert ran.out.startswith("Usage:")
    assert max(map(len, ran.out.splitlines())) <= 110


def test_commands_are_all_known_here() -> None:
    """A command that is added shall be added to these tests."""
    assert set(main.commands) == {command for command in COMMANDS if " " not in command}


async def test_help_and_version_as_commands(shell: Shell) -> None:
    """The same from outside."""
    version, ran = await asyncio.gather(shell.run("--version"), shell.run("pay", "--help", env=NOTHING_SET))
    assert (version.code, ran.code) == (0, 0)
    assert re.fullmatch(r"lianlian-async, version \d+\.\d+\.\d+\n", version.out)
    assert ran.out.startswith("Usage:")
    assert "--max-total" in ran.out


@pytest.mark.parametrize(
    "line",
    [
        "repay", "pay", "status --jsno", "resume", "query", "pause", "pay x.csv --time-scale 0", "pay x.csv --wait-s -1",
        "simulate --faults hurricane --port 0", "simulate --port 70000", "demo --payouts 0", "",
    ],
)  # fmt: skip
def test_wrong_usage(here: Here, line: str) -> None:
    """An unknown command or option, a missing argument or a senseless value is status 2 and is said."""
    ran = here(*line.split())
    assert ran.code == 2, ran.text
    assert ran.text


def test_advice_names_commands_that_exist() -> None:
    """What the tables say in backticks is a command, a field of the wire, or a setting: nobody is sent astray."""
    advice = [
        *(rule.advice for rule in RULES.values()),
        *(row.effect.advice for row in ROWS.values()),
        *(row.at(source).advice for row in (*RET_CODES.values(), UNKNOWN_CODE) for source in (Source.PAY, Source.CONFIRM, Source.QUERY)),
    ]  # fmt: skip
    named = {word for text in advice for word in re.findall("`([^`]+)`", text)}
    assert {"resume", "amend", "replace", "unpause"} <= named
    assert named - set(COMMANDS) <= {*FIELDS, "result_pay"}


async def test_pause_shows(shell: Shell) -> None:
    """Whoever looks at what waits is told that new money is paused, since when, by whom and why."""
    await pause_in_journal(shell.journal, "audit of November")
    ran = await shell.run("status")
    assert "audit of November" in ran.text
