"""`amend` and `replace`: what was refused is corrected, what is dead is paid anew; and only that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from cli_world import OID_PARTNER, Gateway, Keys, Ran, Shell, a_gateway, a_row, write_csv

from lianlian_async.numbers import derive
from lianlian_async.testing.simulator import Behaviour

# A call's deadline is half a second here: on a busy machine, the first answer must still come in time, because only
# what was sent once can be amended.
SCALE = 60
CARD, OTHER, ALIKE = "6228480223123456789", "6228480223999906781", "6228480223999996789"
NAME, NEW_NAME = "欧阳修文", "司马相如"
ROW = a_row(1, card_no=CARD, acct_name=NAME)
NUMBER = derive(OID_PARTNER, ROW["key"])


@pytest.fixture
async def gateway(keys: Keys, shell: Shell) -> AsyncIterator[Gateway]:
    async with a_gateway(keys, scale=SCALE, behaviour=Behaviour(settle_s=(1.0, 3.0))) as made:
        shell.base_url = made.base_url
        yield made


async def run(shell: Shell, *line: object, **more: Any) -> Ran:
    """A command on the fast clock, with time to see the end; it must give nobody away."""
    ran = await shell.run(*line, "--time-scale", SCALE, **more)
    for secret in (CARD, OTHER, ALIKE, NAME, NEW_NAME):
        assert secret not in ran.text, ran.text
    return ran


async def amend(shell: Shell, *changes: str, yes: bool = True, wait_s: int = 3600, **more: Any) -> Ran:
    line = ["amend", NUMBER, *changes, "--by", "Wang Fang", "--wait-s", wait_s]
    return await run(shell, *line, *(["--yes"] if yes else []), **more)


async def replace(shell: Shell, number: str, *more: object, yes: bool = True, **others: Any) -> Ran:
    line = ["replace", number, "--by", "Wang Fang", "--wait-s", 3600, *more]
    return await run(shell, *line, *(["--yes"] if yes else []), **others)


def refused(ran: Ran, *words: str, code: int = 2) -> None:
    assert ran.code == code, ran.text
    for word in words:
        assert word in ran.said, ran.said


async def paid(shell: Shell, *lines: dict[str, str], code: int = 1) -> None:
    ran = await shell.pay(write_csv(shell.folder / "salaries.csv", lines), scale=SCALE)
    assert ran.code == code, ran.text


async def turned_away(gateway: Gateway, shell: Shell, code: str = "1005", **script: Any) -> None:
    """A payout that LianLian refused for its content."""
    gateway.simulator.script(NUMBER, pay=[code, None], **script)
    await paid(shell, ROW)
    assert shell.outcomes()[ROW["key"]]["ret_code"] == code


# ---------------------------------------------------------------------- amend


async def test_another_card(gateway: Gateway, shell: Shell) -> None:
    """Old and new side by side, the change of the payee in words; then the same number, paid to the new card only."""
    await turned_away(gateway, shell)
    ran = await amend(shell, f"card_no={OTHER}", f"acct_name={NEW_NAME}")
    assert ran.code == 0, ran.text
    for word in (
        "622848*********6789",
        "622848*********6781",
        "THE PAYEE CHANGES: another account",
        "another name",
        "司***",
    ):
        assert word in ran.out, ran.out
    assert ran.out.index("THE PAYEE CHANGES") < ran.out.index("PAID")
    assert gateway.simulator.received_by(CARD) == 0
    assert len(gateway.ledger.payments(NUMBER)) == 1
    explained, status = await asyncio.gather(
        shell.run("explain", NUMBER, env={"COLUMNS": "200"}), shell.run("status", NUMBER)
    )
    assert "Wang Fang corrected its content" in status.out
    assert "as it was asked for; sent by attempt 1" in explained.out
    assert "corrected by Wang Fang" in explained.out
    for secret in (CARD, OTHER, NAME, NEW_NAME):
        assert secret not in explained.text + status.text
    refused(await amend(shell, "memo=x"), "PAID", "cannot be amended")
    # The file says what was asked for first, and still means this payout.
    await paid(shell, ROW, code=0)
    assert len(gateway.ledger.payments()) == 1


async def test_what_differs_may_be_hidden(gateway: Gateway, shell: Shell) -> None:
    """Two cards whose masks look alike: it is said that they differ; and what stays is not called a change."""
    await turned_away(gateway, shell)
    ran = await amend(shell, f"card_no={ALIKE}", yes=False)
    refused(ran, "not confirmed")
    assert "differs in what is hidden here" in ran.out
    assert "another name" not in ran.out
    ran = await amend(shell, "info_order=工资", yes=False)
    assert "THE PAYEE" not in ran.out
    assert "工资" in ran.out
    assert gateway.asked("pay") == 1


@pytest.mark.parametrize(("answer", "code"), [(b"y\n", 0), (b"n\n", 2), (b"", 2)])
async def test_a_yes_is_asked_for(gateway: Gateway, shell: Shell, answer: bytes, code: int) -> None:
    """Only a yes corrects and sends."""
    await turned_away(gateway, shell, "1004")
    ran = await amend(shell, "memo=工资", yes=False, stdin=answer)
    assert ran.code == code, ran.text
    assert gateway.asked("pay") == (2 if code == 0 else 1)


async def test_a_value_that_nobody_shall_see(gateway: Gateway, shell: Shell) -> None:
    """NAME=- asks for the value; without a terminal it is read from stdin."""
    await turned_away(gateway, shell)
    ran = await amend(
        shell, "card_no=-", stdin=f"{OTHER}\n".encode(), start_new_session=True, env={"PYTHONWARNINGS": "ignore"}
    )
    assert ran.code == 0, ran.text
    assert len(gateway.ledger.payments(NUMBER)) == 1
    assert gateway.simulator.received_by(OTHER) > 0


async def test_a_suspected_duplicate(gateway: Gateway, shell: Shell) -> None:
    """The corrected order would be the second of its kind today: --yes is no answer to that, --duplicate-ok is."""
    twin = a_row(7, card_no=OTHER, money_order=ROW["money_order"])
    gateway.simulator.script(NUMBER, pay=["1005", None])
    await paid(shell, twin, ROW)
    number = shell.outcomes()[twin["key"]]["no_order"]
    refused(await amend(shell, f"card_no={OTHER}"), number, "--duplicate-ok", "nothing was done")
    ran = await amend(shell, f"card_no={OTHER}", yes=False, stdin=b"n\n")
    refused(ran, "not confirmed")
    assert "further payment?" in ran.out
    assert gateway.asked("pay") == 2
    ran = await amend(shell, f"card_no={OTHER}", yes=False, stdin=b"y\ny\n")
    # LianLian suspects a duplicate as well, and holds it for a person.
    assert ran.code == 1, ran.text
    assert "REVIEW" in ran.out
    assert gateway.asked("pay") == 3


async def test_what_cannot_be_amended(gateway: Gateway, shell: Shell) -> None:
    """Fixed, unknown and bad fields, no change, and what was not refused for its content: with the reason, nothing sent."""
    await turned_away(gateway, shell)
    for changes, words in (
        (["no_order=n1"], ["no_order", "stays"]),
        (["oid_partner=1"], ["oid_partner", "stays"]),
        (["colour=red"], ["colour", "no field"]),
        (["card_no=12"], ["card_no"]),
        (["card_no="], ["card_no"]),
        ([f"acct_name={NAME}"], ["nothing would change"]),
        ([CARD], ["NAME=VALUE"]),
        ([f"{CARD}=card_no"], ["NAME=VALUE"]),
        (["memo=a", "memo=b"], ["twice"]),
    ):
        refused(await amend(shell, *changes), *words)
    refused(await run(shell, "amend", "NO-SUCH-NUMBER", "memo=x", "--yes"), "not in this journal")
    refused(await run(shell, "amend", NUMBER, "memo=x", "--yes", "--by", " "), "name of the person")
    assert gateway.asked("pay") == 1


def test_without_a_journal(here: Callable[..., Ran], tmp_path: Path) -> None:
    """A mistyped path is said, and makes no journal."""
    refused(here("amend", "N1", "memo=x"), "there is no journal")
    refused(here("replace", "N1"), "there is no journal")
    assert not (tmp_path / "payouts.db").exists()


async def test_amended_while_nobody_answers(gateway: Gateway, shell: Shell) -> None:
    """The correction is written down and is on its way: 0, it is not said to be paid, and nothing is sent unasked."""
    await turned_away(gateway, shell)
    gateway.simulator.operator.set_outage("query", "pay")
    ran = await amend(shell, f"card_no={OTHER}", wait_s=20)
    assert ran.code == 0, ran.text
    assert "PAID" not in ran.out
    assert "Wang Fang corrected its content" in (await shell.run("status", NUMBER)).out
    assert gateway.asked("pay") == 1


# ---------------------------------------------------------------------- replace


async def test_a_dead_number(gateway: Gateway, shell: Shell) -> None:
    """The proof is shown; the next number follows from the key and is paid once; replacing again follows it."""
    gateway.simulator.script(NUMBER, final="FAILURE", after_s=1, reason="账户异常")
    await paid(shell, ROW, code=0)
    assert shell.outcomes()[ROW["key"]]["state"] == "FAILED"
    ran = await replace(shell, NUMBER, yes=False, stdin=b"n\n")
    refused(ran, "not confirmed")
    for word in ("LianLian says FAILURE", "账户异常", "bill", "again, under a new number?"):
        assert word in ran.out, ran.out
    assert gateway.asked("pay") == 1
    ran = await replace(shell, NUMBER, yes=False, stdin=b"y\n")
    assert ran.code == 0, ran.text
    successor = derive(OID_PARTNER, ROW["key"], 1)
    assert f"{successor}  PAID" in ran.out
    again = await replace(shell, NUMBER, yes=False)
    assert again.code == 0, again.text
    assert f"replaced by {successor} already" in again.said
    assert len(gateway.ledger.payments()) == 1
    old, new, refusal = await asyncio.gather(
        shell.run("status", NUMBER), shell.run("explain", successor, env={"COLUMNS": "200"}), replace(shell, successor)
    )
    assert f"replaced by {successor}" in old.out
    assert f"Wang Fang paid it again, in the place of {NUMBER}" in new.out
    refused(refusal, "PAID", "may still pay")


async def test_what_may_still_pay(gateway: Gateway, shell: Shell) -> None:
    """Refused, under review, unknown: none of them is dead."""
    held, away = a_row(2, acct_name=NAME), a_row(3, acct_name=NEW_NAME)
    gateway.simulator.script({"acct_name": NAME}, pay=["4003"])
    gateway.simulator.script({"acct_name": NEW_NAME}, pay=["9104"])
    await paid(shell, held, away, a_row(4))
    numbers = {key: row["no_order"] for key, row in shell.outcomes().items()}
    requests = gateway.asked("pay")
    for number, state in zip(numbers.values(), ("REVIEW", "REFUSED", "PAID"), strict=True):
        refused(await replace(shell, number), number, state, "cannot be replaced")
    refused(await replace(shell, "NO-SUCH-NUMBER"), "not in this journal")
    refused(await replace(shell, numbers[held["key"]], "--by", ""), "name of the person")
    assert gateway.asked("pay") == requests


async def test_a_payout_without_a_key(gateway: Gateway, shell: Shell) -> None:
    """Its next number must be given, and must be free; one with a key takes none."""
    for number in ("own-1", NUMBER):
        gateway.simulator.script(number, final="FAILURE", after_s=1)
    await paid(shell, a_row(2, key=None, no_order="own-1"), a_row(3, key=None, no_order="taken"), ROW, code=0)
    refused(await replace(shell, "own-1"), "no key", "no_order")
    refused(await replace(shell, "own-1", "--no-order", "no!"), "no_order")
    refused(await replace(shell, "own-1", "--no-order", "taken"), "another payout")
    refused(await replace(shell, "own-1", "--no-order", "own-1"), "own-1")
    refused(await replace(shell, NUMBER, "--no-order", "own-3"), "leave the number out")
    ran = await replace(shell, "own-1", "--no-order", "own-2")
    assert ran.code == 0, ran.text
    assert len(gateway.ledger.payments("own-2")) == 1


async def test_replaced_while_new_money_is_paused(gateway: Gateway, shell: Shell) -> None:
    """A replacement is new money: it waits, and no successor is written down."""
    gateway.simulator.script(NUMBER, final="FAILURE", after_s=1)
    await paid(shell, ROW, code=0)
    assert (await shell.run("pause", "--reason", "audit", "--by", "chen")).code == 0
    refused(await replace(shell, NUMBER), "audit", code=1)
    assert len(await shell.status()) == 1
