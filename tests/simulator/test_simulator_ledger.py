"""The ledger file: the truth, readable while it is being written."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from lianlian_async.testing.simulator import Entry, Ledger

NOON = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)


def entry(no_order: str, event: str, bill: str = "", amount: str = "1.00") -> Entry:
    return Entry(NOON, no_order, event, Decimal(amount), "621626*********0018", bill)


async def test_the_file_has_the_agreed_members_and_no_card_number(run, clock, tmp_path):
    """One JSON object a line, six members, the card masked; it can be read before the simulator ends."""
    path = tmp_path / "ledger.jsonl"
    async with run(ledger_path=path) as (simulator, merchant):
        await merchant.pay()
        line = json.loads(path.read_text("utf-8").splitlines()[0])
        assert list(line) == ["time", "no_order", "event", "money_order", "card_no", "oid_paybill"]
        assert (line["event"], line["money_order"], line["card_no"]) == ("booked", "25.78", "621626*********0018")
        assert line["time"].startswith("2026-11-23T10:00:00")
        assert line["time"].endswith("+08:00")
        clock.advance(120)
        await merchant.query()
        assert [e.event for e in Ledger.read(path).entries] == ["booked", "paid"]
    assert Ledger.read(path).entries == simulator.ledger.entries
    assert "6216261000000000018" not in path.read_text("utf-8")
    assert "全渠道" not in path.read_text("utf-8")


def test_a_line_cut_off_by_a_kill_is_left_out_and_cut_off(tmp_path):
    """Reading ignores an unfinished last line; the next writer removes it first."""
    path = tmp_path / "ledger.jsonl"
    whole = entry("a", "booked", "1").as_line() + "\n"
    path.write_text(whole + '{"time":"2026', "utf-8")
    assert [e.no_order for e in Ledger.read(path).entries] == ["a"]
    ledger = Ledger(path)
    ledger.append(entry("b", "booked", "2"))
    ledger.close()
    assert [e.no_order for e in Ledger.read(path).entries] == ["a", "b"]


REAL_FILE = io.FileIO


class FullDisk:
    """Lets a ledger's writes fail from outside, as a disk that fills up does: the first half of a line is written."""

    def __init__(self, monkeypatch):
        self.full = False
        monkeypatch.setattr("lianlian_async.testing.simulator.ledger.io.FileIO", self.open)

    def open(self, path, mode):
        disk = self

        class File(REAL_FILE):
            def write(self, data):
                return REAL_FILE.write(self, data[: len(data) // 2] if disk.full else data)

        return File(path, mode)


def test_a_disk_that_fills_up_leaves_no_half_line(tmp_path, monkeypatch):
    """What could not be written whole has not happened, in the file and in memory; with room it goes on."""
    disk, path = FullDisk(monkeypatch), tmp_path / "ledger.jsonl"
    ledger = Ledger(path)
    ledger.append(entry("a", "booked", "1"))
    disk.full = True
    with pytest.raises(OSError, match="No space"):
        ledger.append(entry("b", "booked", "2"))
    assert [e.no_order for e in ledger.entries] == ["a"]
    disk.full = False
    ledger.append(entry("c", "booked", "3"))
    ledger.close()
    assert [e.no_order for e in Ledger.read(path).entries] == ["a", "c"]
    assert path.read_bytes().count(b"\n") == 2


def test_opening_a_ledger_leaves_it_as_it_was(tmp_path, monkeypatch):
    """It is found out whether there is room, and nothing is left of the trial; a device or a directory is refused."""
    path = tmp_path / "ledger.jsonl"
    path.write_text(entry("a", "booked").as_line() + "\n", "utf-8")
    ledger = Ledger(path)
    ledger.open()
    ledger.close()
    assert [e.no_order for e in Ledger.read(path).entries] == ["a"]
    for place in (tmp_path, Path("/dev/full")):
        with pytest.raises(OSError):
            Ledger(place).open()
    FullDisk(monkeypatch).full = True
    with pytest.raises(OSError, match="No space"):
        Ledger(path).open()
    assert [e.no_order for e in Ledger.read(path).entries] == ["a"]


async def test_the_disk_fills_up_while_the_gateway_works(run, clock, tmp_path, monkeypatch, caplog):
    """Whatever cannot be written does not happen: 500, the book, the balance and what was due stay as they are, and it
    is said once; with room everything goes on."""
    disk = FullDisk(monkeypatch)
    async with run(ledger_path=tmp_path / "ledger.jsonl") as (simulator, merchant):
        await merchant.pay("no1")
        before = simulator.operator.balance
        disk.full = True
        for name in ("no2", "no2", "no3"):
            status, _, _ = await merchant.post(
                "pay", merchant.sealed(merchant.content(name, card_no="6216261000000000026"))
            )
            assert status == 500
        assert simulator.operator.balance == before
        clock.advance(120)
        status, _, _ = await merchant.post("query", merchant.query_body(no_order="no1"))
        assert status == 500, "what the bank did meanwhile could not be written down"
        said = [r.getMessage() for r in caplog.records]
        assert len(said) == 1
        assert "ledger cannot be written (No space" in said[0]
        assert caplog.records[0].exc_info is None
        disk.full = False
        assert (await merchant.query("no2"))["ret_code"] == "8901"
        assert (await merchant.query("no1"))["result_pay"] == "SUCCESS"
        assert (await merchant.pay("no2", card_no="6216261000000000026"))["ret_code"] == "0000"
    assert [(e.no_order, e.event) for e in Ledger.read(tmp_path / "ledger.jsonl").entries][:3] == [
        ("no1", "booked"), ("no1", "paid"), ("no2", "booked"),
    ]  # fmt: skip


async def test_a_page_has_the_title_of_its_status(run):
    """404 is Not Found."""
    async with run() as (_, merchant), merchant.session.get(merchant.base_url + "nowhere.htm") as answer:
        assert "404 Not Found" in await answer.text()


def test_counting():
    """Two bills paid under one intent are twice; a refunded one does not count; amounts are net."""
    ledger = Ledger()
    for one in (
        entry("aA1", "booked", "1"), entry("aA1", "paid", "1"), entry("aA2", "booked", "2"), entry("aA2", "paid", "2"),
        entry("bA1", "paid", "3", "2.50"), entry("cA1", "paid", "4"), entry("cA1", "refunded", "4"),
        entry("cA2", "paid", "5"), entry("dA1", "failed"), entry("eA1", "review"), entry("eA1", "closed"),
    ):  # fmt: skip
        ledger.append(one)
    intent = lambda e: e.no_order[0]  # noqa: E731
    assert ledger.paid_twice() == ()
    assert ledger.paid_twice(intent) == ("a",)
    summary = ledger.summary(intent)
    assert (summary.paid, summary.refunded, summary.paid_once, summary.paid_twice) == (5, 1, 2, 1)
    assert summary.as_dict()["paid_amount"] == "5.50"
    assert len(ledger.payments()) == 5
    assert [e.oid_paybill for e in ledger.payments("bA1")] == ["3"]
    assert ledger.states()["eA1"] == "closed"


def test_an_entry_survives_its_line():
    """Reading a written line gives the same entry."""
    one = entry("n", "paid", "2026112300000001", "99999999.99")
    assert Entry.from_line(one.as_line()) == one


@pytest.mark.parametrize("broken", ["[]", "{}", "nonsense"])
def test_a_broken_line_in_the_middle_is_not_passed_over(tmp_path, broken):
    """A ledger that was tampered with is not counted."""
    path = tmp_path / "ledger.jsonl"
    path.write_text(f"{broken}\n{entry('a', 'booked').as_line()}\n", "utf-8")
    with pytest.raises((ValueError, KeyError, TypeError)):
        Ledger.read(path)
