"""Writes the reference pages from the tables in the code: `python docs/render.py`. A test fails when they differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from lianlian_async.protocol.fields import FIELDS
from lianlian_async.protocol.ret_codes import QUERY_CODES_OF_THE_SPECIFICATION, RET_CODES, UNKNOWN_CODE, Source
from lianlian_async.resolver import ROWS, RULES, Row

FOLDER = Path(__file__).parent
_NOTE = "<!-- Written by docs/render.py from the tables in the code. Do not edit. -->"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A Markdown table."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


def ret_codes() -> Iterator[str]:
    """docs/ret-codes.md: specification section 7."""
    yield from ("# The return codes", "", _NOTE, "")
    yield "What each `ret_code` of specification section 7 proves in a *signed and bound* answer. `*` marks the six"
    yield "codes after which the specification (section 5) asks for a query; this library queries after everything"
    yield "that is not proof."
    yield "`lianlian-async explain CODE` shows one row."
    yield ""
    every = (*RET_CODES.values(), UNKNOWN_CODE)
    star = {row.code: "\\*" if row.code in QUERY_CODES_OF_THE_SPECIFICATION else "" for row in every}
    yield from table(
        ("code", "meaning", "gloss", "proves after pay", "after confirm", "after query", "who acts after pay"),
        (
            (f"{r.code}{star[r.code]}", r.meaning, r.gloss, r.pay.proves, r.confirm.proves, r.query.proves, r.pay.who)
            for r in every
        ),
    )


def _row(row: Row) -> tuple[str, ...]:
    effect = row.effect
    marks = ", ".join(word for word, on in (("pause", effect.breaker), ("alarm", effect.alarm)) if on)
    return (row.key, effect.proves, effect.then, effect.who, marks, effect.advice)


def decisions() -> Iterator[str]:
    """docs/decisions.md: the two tables of the resolver."""
    yield from ("# The decision tables", "", _NOTE, "")
    yield 'What one piece of news proves, by where it comes from. "nothing" always means: it may have been paid.'
    yield "*pause* stops new money of the merchant; *alarm* is shown to an operator."
    for source in Source:
        yield from ("", f"## News from {source}", "")
        rows = [row for (where, _), row in ROWS.items() if where is source]
        yield from table(("news", "proves", "then", "who", "marks", "advice"), map(_row, rows))
    yield from ("", "## What must happen next", "")
    yield "Second: given everything known of a payout, exactly one of these rows is picked."
    yield ""
    yield from table(
        ("row", "when", "step", "who", "advice"),
        ((r.name, r.when, r.step, r.who, r.advice or "(the evidence's own)") for r in RULES.values()),
    )


def fields() -> Iterator[str]:
    """docs/fields.md: the wire's fields in the specification's order."""
    yield from ("# The fields", "", _NOTE, "")
    yield "Every field that this library sends, as the specification prints its type. Lengths are checked in bytes"
    yield "of UTF-8, except `memo`, which is counted in characters."
    yield ""
    yield from table(("field", "printed type"), ((name, field.printed_type) for name, field in FIELDS.items()))


PAGES = {"ret-codes.md": ret_codes, "decisions.md": decisions, "fields.md": fields}


def render(name: str) -> str:
    """The text of one page."""
    return "\n".join(PAGES[name]()) + "\n"


if __name__ == "__main__":
    for page in PAGES:
        (FOLDER / page).write_text(render(page), "utf-8")
