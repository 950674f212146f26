"""`pay` when all goes well: files as finance teams have them, run once or again."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import openpyxl
import pytest
from cli_world import Gateway, Keys, Shell, a_gateway, a_row, audit, rows, write_csv

from lianlian_async.testing.simulator import Behaviour

CHINESE = {
    "money_order": "付款金额", "card_no": "银行账号", "acct_name": "收款人姓名", "info_order": "订单描述",
}  # fmt: skip


async def test_run_again_after_the_end(gateway: Gateway, shell: Shell) -> None:
    """The same file again, and the same rows under another name: nothing is sent, the outcomes are the same."""
    file = write_csv(shell.folder / "salaries.csv", rows(10))
    assert (await shell.pay(file)).code == 0
    before, ledger, requests = shell.outcomes(), list(gateway.ledger.entries), gateway.asked("pay")
    assert len(gateway.ledger.payments()) == 10
    ran = await shell.pay(file)
    assert ran.code == 0, ran.text
    assert "10 of 10 rows are in the journal already" in ran.out
    assert shell.outcomes() == before
    copy = write_csv(shell.folder / "copy.csv", list(reversed(rows(10))), encoding="utf-16")
    assert (await shell.pay(copy)).code == 0
    assert shell.outcomes() == before
    assert (gateway.ledger.entries, gateway.asked("pay")) == (ledger, requests)


async def test_rows_without_a_key_run_again(gateway: Gateway, shell: Shell) -> None:
    """Without a key a row is what it says: the same file in any order and encoding pays nothing twice, twins included."""
    lines = rows(4, key=None)
    lines.append(lines[0])
    file = write_csv(shell.folder / "salaries.csv", lines)
    ran = await shell.pay(file)
    assert ran.code == 1, ran.text  # the twin is the gateway's suspected duplicate
    events = len(gateway.ledger.entries)
    assert sorted(row["state"] for row in shell.outcomes().values()) == ["PAID"] * 4 + ["REVIEW"]
    write_csv(file, list(reversed(lines)), encoding="gb18030")
    ran = await shell.pay(file)
    assert ran.code == 1, ran.text
    assert len(gateway.ledger.entries) == events
    assert gateway.asked("confirm") == 0


async def test_wait_s(keys: Keys, shell: Shell) -> None:
    """--wait-s ends the waiting and nothing else: what is open is told as open, and a later run ends it."""
    async with a_gateway(keys, behaviour=Behaviour(settle_s=(900.0, 901.0))) as gateway:
        shell.base_url = gateway.base_url
        file = write_csv(shell.folder / "salaries.csv", rows(3))
        ran = await shell.pay(file, "--wait-s", 60)
        assert ran.code == 1, ran.text
        assert {(row["state"], row["step"]) for row in shell.outcomes().values()} == {("IN_PROGRESS", "QUERY")}
        ran = await shell.pay(file)
        assert ran.code == 0, ran.text
        audit(shell.outcomes(), [row["key"] for row in rows(3)], gateway.ledger)
        assert gateway.ledger.summary().paid_once == 3


@pytest.mark.slow
async def test_wait_of_no_time(gateway: Gateway, shell: Shell) -> None:
    """--wait-s 0 may send everything or nothing, but what it says of it is true."""
    file = write_csv(shell.folder / "salaries.csv", rows(100))
    ran = await shell.pay(file, "--wait-s", 0)
    assert ran.code == 1, ran.text
    audit(shell.outcomes(), [row["key"] for row in rows(100)], gateway.ledger)
    ran = await shell.pay(file)
    assert ran.code == 0, ran.text
    assert gateway.ledger.summary().paid_once == 100


@pytest.mark.parametrize("encoding", ["gb18030", "utf-16"])
async def test_file_as_excel_saves_it(gateway: Gateway, shell: Shell, encoding: str) -> None:
    """Chinese headers and names in the encodings that Excel writes: the name that arrives is the name in the file."""
    lines = [a_row(n, key=None, acct_name=name) for n, name in enumerate(("欧阳修文", "张伟", "阿依古丽·买买提"), 1)]
    ran = await shell.pay(write_csv(shell.folder / "工资.csv", lines, encoding=encoding, headers=CHINESE))
    assert ran.code == 0, ran.text
    sent = {r.content["card_no"]: r.content for r in gateway.simulator.requests if r.endpoint == "pay" and r.content}
    for line in lines:
        content = sent[line["card_no"]]
        assert {name: content[name] for name in line} == line
    assert gateway.ledger.summary().paid_once == 3


async def test_excel_workbook(gateway: Gateway, shell: Shell) -> None:
    """An .xlsx file with account numbers as text."""
    book = openpyxl.Workbook()
    lines = rows(3)
    book.active.append([CHINESE.get(name, name) for name in lines[0]])
    for line in lines:
        book.active.append(list(line.values()))
    file = shell.folder / "工资.xlsx"
    book.save(file)
    ran = await shell.pay(file)
    assert ran.code == 0, ran.text
    audit(shell.outcomes(), [line["key"] for line in lines], gateway.ledger)
    assert gateway.ledger.summary().paid_amount == Decimal("6.06")


async def test_key_of_another_order(gateway: Gateway, shell: Shell) -> None:
    """A key that stands for another amount or payee already: listed by line, status 2, and no row of the file is sent."""
    file = write_csv(shell.folder / "salaries.csv", rows(3))
    assert (await shell.pay(file)).code == 0
    entries, requests = len(gateway.ledger.entries), gateway.asked("pay")
    lines = rows(5)
    lines[1]["money_order"] = "2.03"
    lines[2]["card_no"] = a_row(77)["card_no"]
    ran = await shell.pay(write_csv(file, lines))
    assert ran.code == 2, ran.text
    said = " ".join(ran.err.split())
    for line, name in ((3, "money_order"), (4, "card_no")):
        assert f"│ {line} │" in ran.err or f" {line} " in said, ran.err
        assert name in said.replace("│ ", "").replace(" ", "") or name in said, ran.err
    assert "nothing was sent" in said
    assert a_row(77)["card_no"] not in ran.text
    assert (len(gateway.ledger.entries), gateway.asked("pay")) == (entries, requests)


async def test_a_paid_row_under_another_name_is_asked_about(keys: Keys, shell: Shell) -> None:
    """A paid file that gets a key column, or another memo, is a file of new payments: the same money to the same
    accounts within a day is named and asked about (docs/rules.md, trap 23), as twins inside one file are."""
    async with a_gateway(keys, behaviour=Behaviour(check_duplicates=False)) as gateway:
        shell.base_url = gateway.base_url
        file = write_csv(shell.folder / "salaries.csv", rows(3, key=None))
        assert (await shell.pay(file)).code == 0
        for changed in (rows(3), rows(3, key=None, info_order="工资十一月")):
            ran = await shell.run(*shell.pay_line(write_csv(file, changed)), stdin=b"y\n")
            assert ran.code != 0, "paid again after a single yes"
            assert "same account" in " ".join(ran.text.split())
            assert len(gateway.ledger.payments()) == 3
            assert changed[0]["card_no"] not in ran.text


async def test_decided_in_the_portal(gateway: Gateway, shell: Shell) -> None:
    """A person has approved a review in the merchant portal: running the file again finds the payment."""
    gateway.simulator.script({"acct_name": "欧阳修文"}, pay=["4003"])
    file = write_csv(shell.folder / "salaries.csv", [*rows(1), a_row(2, acct_name="欧阳修文")])
    assert (await shell.pay(file)).code == 1
    review = shell.outcomes()[a_row(2)["key"]]
    assert (review["state"], review["step"]) == ("REVIEW", "DECIDE")
    gateway.simulator.operator.confirm_in_portal(review["no_order"])
    await asyncio.sleep(0.4)  # the bank needs a minute and a half of the fast clock at most
    ran = await shell.pay(file)
    assert shell.outcomes()[a_row(2)["key"]]["state"] == "PAID", "paid, and still told as waiting for a decision"
    assert ran.code == 0, ran.text


async def test_other_settings_for_a_run_again(gateway: Gateway, shell: Shell) -> None:
    """A new notify_url or platform concerns new payments: what is paid is still known as paid."""
    file = write_csv(shell.folder / "salaries.csv", rows(2))
    assert (await shell.pay(file)).code == 0
    changed: dict[str, str | None] = {"LIANLIAN_NOTIFY_URL": "https://b.example.com/new", "LIANLIAN_PLATFORM": "app"}
    ran = await shell.pay(write_csv(file, rows(3)), env=changed)
    assert ran.code == 0, ran.text
    assert len(gateway.ledger.payments()) == 3


async def test_default_place_of_the_outcomes(gateway: Gateway, shell: Shell) -> None:
    """Without --outcomes they lie beside the file, for their owner alone."""
    file = write_csv(shell.folder / "salaries.csv", rows(1))
    ran = await shell.run("pay", file, "--yes", "--time-scale", 240)
    assert ran.code == 0, ran.text
    place = Path(f"{file}.outcomes.csv")
    assert set(shell.outcomes(place)) == {rows(1)[0]["key"]}
    assert place.stat().st_mode & 0o077 == 0
    assert [path.name for path in shell.folder.iterdir() if path.name.endswith(".tmp")] == []


async def test_settings_from_a_file(gateway: Gateway, shell: Shell) -> None:
    """Everything from a TOML file, nothing from the environment; a variable still wins."""
    lines = {name: value for name, value in shell.environment().items() if name.startswith("LIANLIAN_")}
    toml = "".join(f'{name.removeprefix("LIANLIAN_").lower()} = "{value}"\n' for name, value in lines.items())
    (shell.folder / "pay.toml").write_text(toml)
    nothing: dict[str, str | None] = dict.fromkeys(lines)
    file = write_csv(shell.folder / "salaries.csv", rows(1))
    ran = await shell.pay(file, "--config", "pay.toml", env=nothing)
    assert ran.code == 0, ran.text
    ran = await shell.pay(file, "--config", "pay.toml", env={**nothing, "LIANLIAN_BASE_URL": "http://127.0.0.1:9/"})
    assert ran.code == 3, ran.text


@pytest.mark.slow
async def test_many_shells_make_no_noise(gateway: Gateway, shell: Shell) -> None:
    """Three files of other rows at once into one journal: each has its own outcomes, and all are paid once."""
    files = [write_csv(shell.folder / f"{n}.csv", rows(10, 1 + 100 * n)) for n in range(3)]
    ran = await asyncio.gather(*(shell.run("pay", file, "--yes", "--time-scale", 240) for file in files))
    assert [r.code for r in ran] == [0, 0, 0], [r.text for r in ran]
    for n, file in enumerate(files):
        assert set(shell.outcomes(Path(f"{file}.outcomes.csv"))) == {row["key"] for row in rows(10, 1 + 100 * n)}
    assert gateway.ledger.summary().paid_once == 30
