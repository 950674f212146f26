"""What a reconciliation is told as: a page, CSV, JSON, a terminal and an exit status; never a whole card or name."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
import stat
from datetime import UTC, datetime
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import pytest
from attrs import evolve
from client_world import Keys
from reconcile_world import Book, Payout, a_book, day
from statement_files import PARTNER, written

from lianlian_async.cli import main
from lianlian_async.errors import ConfigError
from lianlian_async.reconcile import Difference, Kind, Reconciliation, StatementError
from lianlian_async.reconcile.chart import _ceiling, day_chart
from lianlian_async.reconcile.page import SHOWN_OF_A_KIND_MAX, html_report
from lianlian_async.reconcile.results import DayTotals
from lianlian_async.reconcile.tables import COLUMNS, as_object, check_place, differences_csv, write_text
from lianlian_async.reconcile.texts import LANGUAGES, TEXTS
from lianlian_async.resolver import State

CARD, NAME = "6228480402564890018", "李三"
SOME_DAY = datetime(2026, 11, 24, tzinfo=UTC)


async def a_result(book: Book) -> Reconciliation:
    paid, lost, missing, back = Payout("n1"), Payout("n2", state=State.UNKNOWN), Payout("n3"), Payout("n4", day=1)
    await book.holds(paid, lost, missing, back)
    book.lists(paid.row(), lost.row(), back.row(), back.refund(1), Payout("n5").row())
    return await book.reconcile(day(0), day(1), opening=Decimal("10.00"), closing=Decimal("1.00"))


class Shape(HTMLParser):
    """Checks that what is opened is closed, and keeps tags and attributes."""

    VOID = frozenset({"meta", "line", "rect", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: dict[str, list[str]] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, []).append(value or "")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.mark.parametrize("language", LANGUAGES)
async def test_the_page_is_whole_and_needs_nothing_from_elsewhere(book: Book, language: str) -> None:
    result = await a_result(book)
    page = html_report(result, book.clock.now(), language)
    shape = Shape()
    shape.feed(page)
    assert shape.open == []
    assert not {"script", "link", "img", "iframe"} & set(shape.tags)
    assert not {"src", "href", "onclick"} & set(shape.attributes)
    assert not re.search(r"url\(|https?://", page)
    assert f'lang="{LANGUAGES[language]}"' in page
    for difference in result.differences:
        assert difference.no_order in page
        assert TEXTS[f"kind_{difference.kind}"][language] in page
    assert "svg" in shape.tags
    for secret in (CARD, NAME, CARD[6:15]):
        assert secret not in page
    assert "622848*********0018" in page
    assert "statement answered SUCCESS" in page


def test_every_text_is_there_in_both_languages() -> None:
    """With the same places for values; each kind has a name and a lead."""
    for name, texts in TEXTS.items():
        assert set(texts) == set(LANGUAGES)
        assert all(texts.values())
        places = {language: sorted(re.findall(r"\{(\w+)\}", text)) for language, text in texts.items()}
        assert places["en"] == places["zh"], name
    for kind in Kind:
        assert f"kind_{kind}" in TEXTS
        assert f"lead_{kind}" in TEXTS


def many(count: int, **changes: object) -> Reconciliation:
    one = Difference(kind=Kind.FOREIGN, day="20261123", no_order="n", detail="A payout.", **changes)  # type: ignore[arg-type]
    return Reconciliation(
        oid_partner=PARTNER, files=(), days=(DayTotals(day="20261123", differences=count),),
        differences=tuple(evolve(one, no_order=f"n{n}") for n in range(count)), waiting=(),
    )  # fmt: skip


def test_what_a_file_says_is_shown_and_never_run() -> None:
    """Names and numbers of a file end up as text, in the page and in a spreadsheet."""
    evil = many(1, places=("<script>alert(1)</script>",), listed_bill="=1+1", our_bill="@x")
    page = html_report(evil, SOME_DAY)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    [_, cells] = csv.reader(io.StringIO(differences_csv(evil).removeprefix("\ufeff")))
    row = dict(zip(COLUMNS, cells, strict=True))
    assert (row["listed_bill"], row["our_bill"]) == ("'=1+1", "'@x")


def test_a_page_stays_readable_and_says_what_it_leaves_out() -> None:
    page = html_report(many(SHOWN_OF_A_KIND_MAX + 7), SOME_DAY)
    assert "7 more of this kind are in the CSV and JSON output" in page
    assert page.count("<tr>") < SHOWN_OF_A_KIND_MAX + 20


async def test_csv_and_json_hold_every_difference(book: Book) -> None:
    result = await a_result(book)
    rows = list(csv.DictReader(io.StringIO(differences_csv(result).removeprefix("\ufeff"))))
    told = json.loads(json.dumps(as_object(result)))
    assert [row["no_order"] for row in rows] == [one["no_order"] for one in told["differences"]]
    assert {row["kind"] for row in rows} == {"state", "missing", "refund", "foreign", "balance"}
    assert (told["even"], told["total"]["amount"], told["unexplained"]) == (False, "20000.00", "-14992.80")
    assert told["total"]["differences"] == 5
    assert CARD not in json.dumps(told, ensure_ascii=False) + differences_csv(result)


@pytest.mark.parametrize(("most", "top"), [(1, 4), (4, 4), (5, 8), (50, 80), (81, 200), (166_667, 200_000)])
def test_the_scale_of_a_chart_is_round(most: int, top: int) -> None:
    assert _ceiling(most) == top


def test_a_chart_of_a_month_names_some_days_only() -> None:
    days = [DayTotals(day=f"202611{n:02d}", states={"PAID": n, "FAILED": 1}) for n in range(1, 31)]
    chart = day_chart(days, "a < b", "differences")
    assert 'aria-label="a &lt; b"' in chart
    assert chart.count("<rect") == 60
    assert 10 <= len(re.findall(r">11-\d\d<", chart)) <= 16


def test_a_report_is_written_whole_and_for_us_alone(tmp_path: Path) -> None:
    path = tmp_path / "r.html"
    check_place(path)
    assert not path.exists()
    write_text(path, "页")
    assert (path.read_text("utf-8"), stat.S_IMODE(path.stat().st_mode)) == ("页", 0o600)
    for bad in (tmp_path / "none" / "r.html", tmp_path):
        with pytest.raises(ConfigError, match="cannot be written"):
            check_place(bad)
    with pytest.raises(ConfigError, match="cannot be written"):
        write_text(tmp_path, "x")


# ---------------------------------------------------------------------- the command


@pytest.fixture
def desk(keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a journal of one paid payout, and the settings for it in the environment."""

    async def fill() -> None:
        async with a_book(keys, tmp_path, "sqlite") as book:
            await book.holds(Payout("n1"))

    asyncio.run(fill())
    settings = {
        "OID_PARTNER": PARTNER, "PRIVATE_KEY_FILE": keys.folder / "merchant-private.pem",
        "GATEWAY_PUBLIC_KEY_FILE": keys.folder / "gateway-public.pem", "JOURNAL": f"sqlite:///{tmp_path}/payouts.db",
        "BASE_URL": "http://127.0.0.1:9/paymentapi/",
    }  # fmt: skip
    for name, value in settings.items():
        monkeypatch.setenv(f"LIANLIAN_{name}", str(value))
    (tmp_path / f"FKMX_{PARTNER}_{day(0)}.txt").write_bytes(written([Payout("n1").row()]))
    return tmp_path


def run(*arguments: object) -> int:
    return main([str(argument) for argument in ("reconcile", *arguments)], standalone_mode=False) or 0


def test_even_is_status_0(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(desk / f"FKMX_{PARTNER}_{day(0)}.txt") == 0
    assert "even" in capsys.readouterr().out


def test_a_difference_is_status_1_and_everything_is_written(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = desk / f"FKMX_{PARTNER}_{day(0)}.txt"
    path.write_bytes(written([Payout("n1").row(), Payout("n2").row()]))
    page, table = desk / "r.html", desk / "r.csv"
    assert run(path, "--html", page, "--csv", table, "--language", "zh") == 1
    out = capsys.readouterr().out
    assert "1 differences" in out
    assert "n2" in out
    assert "付款对账" in page.read_text("utf-8")
    assert "n2" in table.read_text("utf-8")
    assert run(path, "--json") == 1
    assert json.loads(capsys.readouterr().out)["differences"][0]["no_order"] == "n2"


def test_what_cannot_be_meant_is_refused(desk: Path) -> None:
    path = desk / f"FKMX_{PARTNER}_{day(0)}.txt"
    for arguments in (["--day", day(0), "--month", day(0)[:6]], ["--opening", "1"], ["--csv", desk / "none" / "r.csv"]):
        with pytest.raises(ConfigError):
            run(path, *arguments)
    for amount in ("x", "1.001", "NaN", "Infinity", "1e99"):
        with pytest.raises(Exception, match="is no amount"):
            run(path, "--opening", amount, "--closing", "1")
    path.write_bytes(b"x\n")
    with pytest.raises(StatementError):
        run(path)
