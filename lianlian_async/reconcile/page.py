"""The report as one HTML file: totals, a chart, every difference with its evidence; nothing comes from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from html import escape
from importlib.resources import files
from typing import Final

from ..clock import SHANGHAI
from .chart import COLOURS, day_chart
from .results import DayTotals, Difference, Kind, Reconciliation
from .texts import LANGUAGES, TEXTS

__all__ = ["html_report"]

# A page that a person reads; CSV and JSON have all of them.
SHOWN_OF_A_KIND_MAX: Final = 500


def html_report(result: Reconciliation, made_at: datetime, language: str = "en") -> str:
    """The whole page; `language` is `en` or `zh`. It needs no network, no script and no other file, and prints."""
    page = _Page(language)
    style = files(__package__).joinpath("report.css").read_text("utf-8")
    title = f"{page.t('title')} {_period(result)}"
    body = "\n".join(page.body(result, made_at))
    return (
        f'<!doctype html>\n<html lang="{LANGUAGES[language]}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n"
        f"<footer>{page.t('times')}</footer>\n</body>\n</html>\n"
    )


def _period(result: Reconciliation) -> str:
    if not result.days:
        return ""
    first, last = _day(result.days[0].day), _day(result.days[-1].day)
    return first if first == last else f"{first} – {last}"


def _day(day: str) -> str:
    return f"{day[:4]}-{day[4:6]}-{day[6:]}" if len(day) == 8 else day


def _money(amount: Decimal | None) -> str:
    return "" if amount is None else f"{amount:,.2f}"


class _Page:
    """The pieces of the page, in one language."""

    def __init__(self, language: str) -> None:
        self._language = language

    def t(self, name: str, **values: object) -> str:
        """A text of the page, escaped."""
        return escape(TEXTS[name][self._language].format(**values))

    def body(self, result: Reconciliation, made_at: datetime) -> Iterator[str]:
        made = f"{made_at.astimezone(SHANGHAI):%Y-%m-%d %H:%M}"
        yield f'<header><h1>{self.t("title")}</h1><p class="hint">{self.t("merchant")} {escape(result.oid_partner)} · '
        yield f"{escape(_period(result))} · {self.t('made')} {made}</p></header>"
        if result.even:
            yield f'<p class="notice good"><strong>{self.t("even")}</strong></p>'
        else:
            text = self.t("uneven", count=f"{len(result.differences):,}")
            yield f'<p class="notice danger"><strong>{text}</strong></p>'
        if result.waiting:
            yield f'<p class="notice warn">{self.t("waiting_note", count=f"{len(result.waiting):,}")}</p>'
        yield from self._facts(result)
        yield from self._chart(result)
        for kind in Kind:
            if of_kind := result.of_kind(kind):
                yield from self._kind(kind, of_kind)
        if result.waiting:
            yield f'<section><h2>{self.t("waiting")} <span class="hint">{len(result.waiting):,}</span></h2>'
            yield from self._differences(result.waiting)
            yield "</section>"
        yield from self._days(result)
        yield f'<section><h2>{self.t("files")}</h2><ul class="files">'
        for file in result.files:
            rows = self.t("rows", count=f"{file.rows:,}")
            yield f'<li>{escape(file.name)} <span class="hint">{rows}, {escape(file.encoding.upper())}</span></li>'
        yield "</ul></section>"

    def _facts(self, result: Reconciliation) -> Iterator[str]:
        total = result.total
        facts = [
            (self.t("listed"), _money(total.amount), f"{total.count:,}"),
            (self.t("ours"), _money(total.our_amount), f"{total.our_count:,}"),
            (self.t("fees"), _money(total.fee), ""),
            (self.t("refunds"), _money(total.refunded), f"{total.refunds:,}"),
            (self.t("outflow"), _money(total.outflow), ""),
        ]
        if result.unexplained is not None and result.opening is not None and result.closing is not None:
            facts.append((self.t("balance"), _money(result.opening - result.closing), ""))
            facts.append((self.t("unexplained"), _money(result.unexplained), ""))
        yield '<dl class="facts">'
        for name, value, count in facts:
            yield f'<div><dt>{name}</dt><dd class="big">{value}</dd><dd class="hint">{count}</dd></div>'
        yield "</dl>"

    def _chart(self, result: Reconciliation) -> Iterator[str]:
        if not result.days:
            return
        yield f'<section><h2>{self.t("chart")}</h2><p class="hint">{self.t("chart_lead")}</p><div class="card">'
        yield day_chart(result.days, TEXTS["chart"][self._language], TEXTS["differences"][self._language])
        present = {state for day in result.days for state in day.states}
        shown = [(name, colour) for name, colour in COLOURS if name in present]
        keys = "".join(f'<li><span style="background:{colour}"></span>{name}</li>' for name, colour in shown)
        yield f'<ul class="legend">{keys}<li class="flagged">1 {self.t("differences")}</li></ul></div></section>'

    def _kind(self, kind: Kind, differences: Sequence[Difference]) -> Iterator[str]:
        yield f'<section><h2>{self.t(f"kind_{kind}")} <span class="hint">{len(differences):,}</span></h2>'
        yield f"<p>{self.t(f'lead_{kind}')}</p>"
        yield from self._differences(differences)
        yield "</section>"

    def _differences(self, differences: Sequence[Difference]) -> Iterator[str]:
        yield '<div class="card"><table><thead><tr>'
        for name in ("day", "number", "what", "statement", "journal", "state"):
            yield f"<th>{self.t(name)}</th>"
        yield "</tr></thead><tbody>"
        for difference in differences[:SHOWN_OF_A_KIND_MAX]:
            yield from self._difference(difference)
        yield "</tbody></table></div>"
        if len(differences) > SHOWN_OF_A_KIND_MAX:
            more = f"{len(differences) - SHOWN_OF_A_KIND_MAX:,}"
            yield f'<p class="hint">{self.t("more", count=more)}</p>'

    def _difference(self, one: Difference) -> Iterator[str]:
        payee = " ".join(filter(None, (one.card_no, one.acct_name)))
        places = "".join(f'<div class="hint">{escape(place)}</div>' for place in one.places)
        yield f'<tr><td class="keeps">{_day(one.day)}</td><td class="number">{escape(one.no_order)}'
        yield f'<div class="hint">{escape(payee)}</div></td><td>{escape(one.detail)}{places}'
        if one.evidence:
            lines = "".join(f"<li>{escape(line)}</li>" for line in one.evidence)
            yield f"<details><summary>{self.t('evidence')}</summary><ol>{lines}</ol></details>"
        yield f"</td><td>{self._side(one.listed_amount, one.listed_bill, None)}</td>"
        yield f"<td>{self._side(one.our_amount, one.our_bill, one.our_date)}</td><td>{self._state(one)}</td></tr>"

    def _side(self, amount: Decimal | None, bill: str | None, date: str | None) -> str:
        lines = [f'<div class="amount">{_money(amount)}</div>']
        lines += [f'<div class="hint">{self.t("bill")} {escape(bill)}</div>'] if bill else []
        lines += [f'<div class="hint">{self.t("date")} {_day(date)}</div>'] if date else []
        return "".join(lines)

    def _state(self, one: Difference) -> str:
        if one.state is None:
            return ""
        if one.before in (None, one.state):
            return f'<span class="state state-{one.state}">{one.state}</span>'
        text = self.t("became", before=one.before, state=one.state)
        return f'<span class="state state-{one.state}">{text}</span>'

    def _days(self, result: Reconciliation) -> Iterator[str]:
        yield f'<section><h2>{self.t("by_day")}</h2><div class="card"><table class="sums"><thead><tr>'
        names = ("day", "count", "amount", "fee", "refund_count", "refunded", "our_count", "our_amount", "differences")
        yield "".join(f"<th>{self.t(name)}</th>" for name in names)
        yield "</tr></thead><tbody>"
        for day in result.days:
            yield self._sums(_day(day.day), day)
        yield f"</tbody><tfoot>{self._sums(self.t('all_days'), result.total)}</tfoot></table></div></section>"

    def _sums(self, name: str, day: DayTotals) -> str:
        cells = (
            f"{day.count:,}", _money(day.amount), _money(day.fee), f"{day.refunds:,}", _money(day.refunded),
            f"{day.our_count:,}", _money(day.our_amount),
        )  # fmt: skip
        flag = f'<strong class="danger-text">{day.differences:,}</strong>' if day.differences else "0"
        return f"<tr><th>{name}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}<td>{flag}</td></tr>"
