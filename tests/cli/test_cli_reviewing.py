"""`review list`, `show`, `approve`, `decline`: people decide in the terminal, with a name, a note and a yes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from cli_world import Gateway, Keys, Ran, Shell, a_gateway, a_row, until, write_csv

from lianlian_async.testing.simulator import Behaviour, Step

# The window of 25 minutes for a decision is 25 seconds long here: processes take their time to start.
SCALE = 60
CARD, NAME = "6228480223123456789", "欧阳修文"
HELD = a_row(1, card_no=CARD, acct_name=NAME)


@pytest.fixture
async def gateway(keys: Keys, shell: Shell) -> Any:
    async with a_gateway(keys, scale=SCALE, behaviour=Behaviour(settle_s=(1.0, 3.0))) as made:
        shell.base_url = made.base_url
        yield made


async def held(gateway: Gateway, shell: Shell, code: str = "4003", **script: Any) -> str:
    """A payout that waits for a person; returns its number."""
    gateway.simulator.script({"acct_name": NAME}, pay=[code], **script)
    ran = await shell.pay(write_csv(shell.folder / "salaries.csv", [HELD]), scale=SCALE)
    assert ran.code == 1, ran.text
    row = shell.outcomes()[HELD["key"]]
    assert row["state"] == "REVIEW"
    return row["no_order"]


async def run(shell: Shell, *line: object, **more: Any) -> Ran:
    """A command on the clock of these tests; it must give nobody away."""
    ran = await shell.run(*line, "--time-scale", SCALE, **more)
    for secret in (CARD, NAME):
        assert secret not in ran.text, ran.text
    return ran


async def approve(shell: Shell, number: str, *more: object, note: str = "payee called", **others: Any) -> Ran:
    return await run(shell, "review", "approve", number, "--note", note, *more, **others)


def refused(ran: Ran, *words: str, code: int = 2) -> None:
    assert ran.code == code, ran.text
    for word in words:
        assert word in ran.said, ran.said


async def state_of(shell: Shell, number: str) -> tuple[str, str]:
    [payout] = await shell.status(number)
    return payout["state"], payout["step"]


# ---------------------------------------------------------------------- looking


async def test_list_and_show(gateway: Gateway, shell: Shell) -> None:
    """What is held, why, until when, and what else went to the same card today, freshly asked about; for both readers."""
    first = a_row(5, card_no=CARD, acct_name="李三", money_order=HELD["money_order"])
    gateway.simulator.script({"acct_name": "李三"}, timeline=[("PROCESSING", 0)])
    file = write_csv(shell.folder / "first.csv", [first])
    assert (await shell.pay(file, "--wait-s", 10, scale=SCALE)).code == 1
    earlier = shell.outcomes()[first["key"]]["no_order"]
    number = await held(gateway, shell, "4004")
    asked = sum(r.no_order == earlier for r in gateway.simulator.requests if r.endpoint == "query")
    listed, as_json = await asyncio.gather(run(shell, "review", "list"), run(shell, "review", "list", "--json"))
    assert (listed.code, as_json.code) == (0, 0)
    assert sum(r.no_order == earlier for r in gateway.simulator.requests if r.endpoint == "query") >= asked + 2
    for word in (number, "4004", "Same card and amount", "6 tries left", earlier, "622848", "1 payouts wait"):
        assert word in listed.out, listed.out
    [held_one] = [json.loads(line) for line in as_json.out.splitlines()]
    assert (held_one["no_order"], held_one["code"], held_one["refusal"]) == (number, "4004", None)
    assert 0 < held_one["minutes_left"] <= 25
    assert [(s["no_order"], s["answered"]) for s in held_one["siblings"]] == [(earlier, True)]
    asked = len(gateway.simulator.requests)
    offline, as_json = await asyncio.gather(
        run(shell, "review", "list", "--offline"), run(shell, "review", "list", "--offline", "--json")
    )
    assert "nobody was asked" in offline.out
    assert [s["answered"] for s in json.loads(as_json.out)["siblings"]] == [None]
    assert len(gateway.simulator.requests) == asked
    asked = sum(r.no_order == earlier for r in gateway.simulator.requests if r.endpoint == "query")
    shown, as_json = await asyncio.gather(
        run(shell, "review", "show", number), run(shell, "review", "show", number, "--json")
    )
    assert (shown.code, as_json.code) == (0, 0)
    assert sum(r.no_order == earlier for r in gateway.simulator.requests if r.endpoint == "query") >= asked + 2
    assert earlier in shown.out
    assert json.loads(as_json.out)["state"] == "REVIEW"
    assert gateway.asked("confirm") == 0


async def test_nothing_is_held(gateway: Gateway, shell: Shell) -> None:
    """An empty list is a list; what is not held is said to be so, and how it stands."""
    assert (await shell.pay(write_csv(shell.folder / "salaries.csv", [a_row(2)]), scale=SCALE)).code == 0
    number = shell.outcomes()[a_row(2)["key"]]["no_order"]
    listed = await run(shell, "review", "list")
    assert (listed.code, listed.out) == (0, "0 payouts wait for a person's decision\n")
    assert (await run(shell, "review", "list", "--json")).out == ""
    requests = gateway.asked("query")
    refused(await run(shell, "review", "show", number), "PAID", "not under review")
    refused(await approve(shell, number, "--yes"), "PAID", "not under review")
    refused(await run(shell, "review", "decline", number, "--note", "x"), "PAID", "not under review")
    refused(await run(shell, "review", "show", "NO-SUCH-NUMBER"), "not in this journal")
    assert gateway.asked("query") == requests, "what is known to have ended is not asked about"


def test_without_a_journal(here: Callable[..., Ran], tmp_path: Path) -> None:
    """A mistyped path is said, and makes no journal."""
    for line in (("list",), ("show", "N"), ("approve", "N", "--note", "x"), ("decline", "N", "--note", "x")):
        refused(here("review", *line), "there is no journal")
    assert not (tmp_path / "payouts.db").exists()


# ---------------------------------------------------------------------- approving


async def test_approved(gateway: Gateway, shell: Shell) -> None:
    """Shown, approved, confirmed once, followed until it is paid: 0; the name and the note stay on record."""
    number = await held(gateway, shell)
    ran = await approve(shell, number, "--by", "Wang Fang", "--yes")
    assert ran.code == 0, ran.text
    assert ran.out.index("The card does not belong") < ran.out.index("PAID")
    assert gateway.asked("confirm") == 1
    explained = await shell.run("explain", number, env={"COLUMNS": "200"})
    assert "Wang Fang approved it: payee called [siblings seen: none]" in explained.out
    assert (await state_of(shell, number))[0] == "PAID"
    refused(await approve(shell, number, "--yes"), "PAID")
    assert gateway.asked("confirm") == 1
    assert gateway.ledger.summary().paid_twice == 0


@pytest.mark.parametrize(("answer", "code"), [(b"y\n", 0), (b"n\n", 2), (b"", 2)])
async def test_a_yes_is_asked_for(gateway: Gateway, shell: Shell, answer: bytes, code: int) -> None:
    """Only a yes confirms; anything else, and nobody there, is no yes."""
    number = await held(gateway, shell)
    ran = await approve(shell, number, stdin=answer)
    assert ran.code == code, ran.text
    assert "Is this payout meant?" in ran.out
    assert gateway.asked("confirm") == (code == 0)


async def test_not_waited_for(gateway: Gateway, shell: Shell) -> None:
    """On its way after the decision is 0, too, and it is said that it is not paid yet."""
    number = await held(gateway, shell, timeline=[("PROCESSING", 0)])
    ran = await approve(shell, number, "--yes", "--wait-s", 0)
    assert ran.code == 0, ran.text
    assert "IN_PROGRESS  QUERY" in ran.out


async def test_it_still_needs_a_person(gateway: Gateway, shell: Shell) -> None:
    """4011: the gateway did not take the code. 1, and a second try is refused with the reason."""
    number = await held(gateway, shell, confirm=["4011"])
    ran = await approve(shell, number, "--yes")
    assert ran.code == 1, ran.text
    refused(await approve(shell, number, "--yes"), "does not")
    assert gateway.asked("confirm") == 1


async def test_the_code_was_lost(gateway: Gateway, shell: Shell) -> None:
    """The answer that brought the confirm_code was lost: shown as such, and refused."""
    gateway.simulator.script({"acct_name": NAME}, pay=[Step(ret_code="4003", fault="close_after")])
    file = write_csv(shell.folder / "salaries.csv", [HELD])
    assert (await shell.pay(file, scale=SCALE)).code == 1
    number = shell.outcomes()[HELD["key"]]["no_order"]
    shown = await run(shell, "review", "show", number)
    assert shown.code == 0
    assert "cannot be approved here" in shown.out
    refused(await approve(shell, number, "--yes"), "confirm_code was lost")
    assert gateway.asked("confirm") == 0


async def test_without_an_answer_nothing_is_approved(gateway: Gateway, shell: Shell) -> None:
    """The gateway is silent: what was known is shown, nothing is written down or confirmed, 3."""
    number = await held(gateway, shell)
    gateway.simulator.operator.set_outage("query")
    shown, ran = await asyncio.gather(run(shell, "review", "show", number), approve(shell, number, "--yes"))
    refused(shown, "no usable answer", code=3)
    refused(ran, "nothing was approved", code=3)
    gateway.simulator.operator.set_outage()
    [review] = [json.loads(line) for line in (await run(shell, "review", "list", "--json")).out.splitlines()]
    assert review["words"] == []
    assert gateway.asked("confirm") == 0


async def test_while_new_money_is_paused(gateway: Gateway, shell: Shell) -> None:
    """A confirmation is new money: it waits for the pause to be lifted, and the list says so."""
    number = await held(gateway, shell)
    assert (await shell.run("pause", "--reason", "audit", "--by", "chen")).code == 0
    listed, ran = await asyncio.gather(run(shell, "review", "list"), approve(shell, number, "--yes"))
    assert "audit" in listed.said
    refused(ran, "paused", "audit", code=1)
    assert gateway.asked("confirm") == 0


async def test_another_payout_moved_while_somebody_thought(gateway: Gateway, shell: Shell) -> None:
    """The decision rests on what was shown: it is refused when that is not true any more, and may be made again."""
    first = a_row(5, card_no=CARD, acct_name="李三", money_order=HELD["money_order"])
    assert (await shell.pay(write_csv(shell.folder / "first.csv", [first]), scale=SCALE)).code == 0
    earlier = shell.outcomes()[first["key"]]["no_order"]
    number = await held(gateway, shell, "4004")
    read, write = os.pipe()
    running = await shell.start("review", "approve", number, "--note", "ok", "--time-scale", SCALE, stdin=read)
    os.close(read)
    await until(lambda: any(r.endpoint == "query" and r.no_order == earlier for r in gateway.simulator.requests[-1:]))
    await asyncio.sleep(0.5)
    gateway.simulator.operator.cancel(earlier)
    os.write(write, b"y\n")
    os.close(write)
    ran = await running.end()
    refused(ran, "moved", "nothing was approved")
    assert gateway.asked("confirm") == 0
    again = await approve(shell, number, "--yes")
    assert again.code == 0, again.text


async def test_decided_in_the_portal_meanwhile(gateway: Gateway, shell: Shell) -> None:
    """The fresh query says so before anybody is asked."""
    number = await held(gateway, shell)
    gateway.simulator.operator.confirm_in_portal(number)
    ran = await approve(shell, number, stdin=b"y\n")
    refused(ran, "not under review")
    assert "meant?" not in ran.out
    assert gateway.asked("confirm") == 0


@pytest.mark.parametrize(
    "line",
    [("--note", ""), ("--note", "x" * 501), ("--note", "ok", "--by", " "), ("--note", "ok", "--by", "A\u202e"), ()],
)
def test_a_name_and_a_note_are_needed(here: Callable[..., Ran], line: tuple[str, ...]) -> None:
    """Refused before anything is looked at."""
    ran = here("review", "approve", "N1", *line)
    assert ran.code == 2, ran.text
    assert "journal" not in ran.said
    assert here("review", "decline", "N1", *line).code == 2


async def test_stopped_while_it_waits(gateway: Gateway, shell: Shell) -> None:
    """SIGTERM ends the waiting; what was confirmed is confirmed, and the state is told."""
    number = await held(gateway, shell, timeline=[("PROCESSING", 0)])
    running = await shell.start(
        "review", "approve", number, "--note", "ok", "--yes", "--wait-s", 3600, "--time-scale", SCALE
    )
    await until(lambda: gateway.asked("confirm"))
    running.signal(signal.SIGTERM)
    ran = await running.end()
    assert ran.code == 0, ran.text
    assert "IN_PROGRESS" in ran.out


# ---------------------------------------------------------------------- two people


async def test_two_people_one_after_the_other(gateway: Gateway, shell: Shell) -> None:
    """The first approval is written down and confirms nothing (1); the same person cannot be the second, whatever the
    spelling; another one can."""
    number = await held(gateway, shell)
    ran = await approve(shell, number, "--by", "Anna", "--two-person", "--yes")
    assert ran.code == 1, ran.text
    assert "a second one must" in ran.out
    assert gateway.asked("confirm") == 0
    again, named = await asyncio.gather(
        approve(shell, number, "--by", "anna", "--two-person", "--yes"),
        approve(shell, number, "--by", "Bo", "--two-person", "--second", "Cy", "--yes"),
    )
    refused(again, "another person")
    refused(named, "leave --second out")
    shown = await run(shell, "review", "show", number)
    assert "Anna approved it: payee called" in shown.out
    ran = await approve(shell, number, "--by", "Bo", "--two-person", "--yes")
    assert ran.code == 0, ran.text
    assert gateway.asked("confirm") == 1
    assert (await state_of(shell, number))[0] == "PAID"


async def test_two_people_at_once(gateway: Gateway, shell: Shell) -> None:
    """Both named: one confirm, and both are on record. The same name twice is refused before anything is looked at."""
    number = await held(gateway, shell)
    refused(await approve(shell, number, "--by", "Anna", "--two-person", "--second", " ANNA ", "--yes"), "another")
    refused(await approve(shell, number, "--by", "Anna", "--second", "Bo", "--yes"), "--two-person")
    ran = await approve(shell, number, "--by", "Anna", "--two-person", "--second", "Bo", "--yes")
    assert ran.code == 0, ran.text
    status = await shell.run("status", number)
    assert "Anna approved it" in status.out
    assert "Bo approved it" in status.out
    assert gateway.asked("confirm") == 1


async def test_two_people_because_the_settings_say_so(gateway: Gateway, shell: Shell) -> None:
    """Without a word on the command line it takes two, and a variable of one command does not take that back."""
    number = await held(gateway, shell)
    config = shell.folder / "policy.toml"
    config.write_text("two_person = true\n", "utf-8")
    config.chmod(0o600)
    loose = {"LIANLIAN_TWO_PERSON": "false"}
    ran = await approve(shell, number, "--by", "Anna", "--yes", "--config", config, env=loose)
    assert ran.code == 1, ran.text
    assert "a second one must" in ran.out
    refused(await approve(shell, number, "--by", "anna", "--yes", "--config", config, env=loose), "another person")
    assert gateway.asked("confirm") == 0
    ran = await approve(shell, number, "--by", "Bo", "--yes", env={"LIANLIAN_TWO_PERSON": "true"})
    assert ran.code == 0, ran.text
    assert gateway.asked("confirm") == 1


@pytest.mark.parametrize(("typed", "code"), [("Bo", 0), ("", 1), ("Anna", 2)])
async def test_the_second_person_is_asked_for_on_a_terminal(
    gateway: Gateway, shell: Shell, typed: str, code: int
) -> None:
    """A name confirms, an empty line leaves it to later, the first person's name is refused."""
    number = await held(gateway, shell)
    ours, theirs = os.openpty()
    running = await shell.start(
        "review", "approve", number, "--note", "ok", "--by", "Anna", "--two-person", "--time-scale", SCALE, stdin=theirs
    )
    os.close(theirs)
    os.write(ours, f"y\n{typed}\n".encode())
    ran = await running.end()
    os.close(ours)
    assert ran.code == code, ran.text
    assert "Who is the second person?" in ran.out
    assert gateway.asked("confirm") == (code == 0)


# ---------------------------------------------------------------------- declining


async def test_declined(gateway: Gateway, shell: Shell) -> None:
    """Nothing is sent; the word stands, nobody can approve any more, and it is told until when it is not over."""
    number = await held(gateway, shell)
    ran = await run(shell, "review", "decline", number, "--note", "not ours", "--by", "Anna")
    assert ran.code == 0, ran.text
    assert "REVIEW  QUERY" in ran.out
    assert "merchant portal" in ran.out
    again, approved = await asyncio.gather(
        run(shell, "review", "decline", number, "--note", "again"), approve(shell, number, "--yes")
    )
    refused(again, "Anna has declined it")
    refused(approved, "Anna has declined it")
    listed = json.loads((await run(shell, "review", "list", "--json")).out)
    words: list[Mapping[str, Any]] = listed["words"]
    assert [(w["by"], w["note"], w["approves"]) for w in words] == [("Anna", "not ours", False)]
    assert gateway.asked("confirm") == 0
