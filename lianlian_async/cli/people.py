"""`amend` and `replace`: corrected content under the same number, and a new number for a dead one (rules R4, R5).

Both show what would be done, ask for a yes, and follow the payout. Cards and names are masked on both sides, and
where two masks look alike it is said whether what is hidden differs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import click
from attrs import evolve, frozen
from rich.table import Table
from rich.text import Text

from ..errors import CommandRefused
from ..journal import Record
from ..moves import TWINS_WITHIN, DuplicateOk, alive, amended
from ..payout import Payout
from ..people import checked_name
from ..protocol.fields import mask_card, mask_name, safe_text, wire_money
from ..resolver import Evidence, Proof, Source, row_of
from .asking import a_client, ask, follow, status_of, wait_option, yes_option
from .common import complain, config_option, console, run_async, say_path, scale_option, stop_event
from .look import show
from .operate import by_option
from .trail import moment

__all__ = ["amend", "replace"]

_PAYEE = {"card_no": mask_card, "acct_name": mask_name}
_SHOWN_ALWAYS = ("money_order", *_PAYEE)
_ENDS = (Proof.FAILED, Proof.CLOSED, Proof.REFUNDED)


_duplicate_option = click.option(
    "--duplicate-ok", is_flag=True, help="It is meant although the same card gets the same amount elsewhere."
)


# ---------------------------------------------------------------------- amend


@click.command()
@click.argument("no_order")
@click.argument("changes", nargs=-1, required=True, metavar="NAME=VALUE...")
@by_option
@yes_option
@_duplicate_option
@wait_option
@config_option
@scale_option
def amend(
    no_order: str, changes: tuple[str, ...], by: str, yes: bool, duplicate_ok: bool, wait_s: float,
    config: Path | None, time_scale: float,
) -> int:  # fmt: skip
    """Correct what LianLian refused (1004, 1005, 4015), and send it again under the same number.

    NAME is the wire's, such as card_no; an empty VALUE takes the field away, and NAME=- asks for the value, so that it
    stands in no history of commands.
    """
    wanted, by = _parsed(changes), checked_name(by)
    found = run_async(_amendable)(config, time_scale, no_order, wanted)
    _show_amendment(found.record.content, found.content)
    if found.twins and not duplicate_ok:
        _ask_twins(found.twins[0], found.content, yes=yes)
    if not yes:
        ask("Correct it so, and send it again under the same number?")
    meant = duplicate_ok or [twin.no_order for twin in found.twins]
    payout = run_async(_amend)(config, time_scale, no_order, wanted, by, duplicate_ok=meant, wait_s=wait_s)
    show([payout], "amended")
    return status_of(payout)


def _parsed(changes: tuple[str, ...]) -> dict[str, str]:
    """Names and values; what is not of this form is not repeated, because it may be a card number."""
    wanted: dict[str, str] = {}
    for place, change in enumerate(changes, start=1):
        name, equals, value = change.partition("=")
        if not equals or not re.fullmatch("[a-z_]{2,20}", name):
            raise click.UsageError(f"change {place} is not of the form NAME=VALUE, such as city_code=110000")
        if name in wanted:
            raise click.UsageError(f"{name} is given twice")
        wanted[name] = click.prompt(name, hide_input=True, err=True) if value == "-" else value
    return wanted


@frozen
class _Amendable:
    """A payout whose content may be corrected, the new content, and what that would look like a duplicate of."""

    record: Record
    content: Mapping[str, str]
    twins: tuple[Payout, ...]


async def _amendable(config: Path | None, time_scale: float, no_order: str, wanted: Mapping[str, str]) -> _Amendable:
    async with a_client(config, time_scale) as client:
        await client.check_amendable(no_order)
        record = await client.journal.load(no_order)
        assert record is not None, "it was there just now, and a journal forgets nothing"
        content = amended(record.content, wanted)
        if content == record.content:
            raise CommandRefused(f"{no_order}: nothing would change; `resume` sends the same content again")
        like = await client.journal.twins(evolve(record, content=content), client.clock.now() - TWINS_WITHIN)
        return _Amendable(record, content, tuple([await client.get(twin.no_order) for twin in alive(like)]))


def _show_amendment(old: Mapping[str, str], new: Mapping[str, str]) -> None:
    table = Table(header_style="bold")
    for name in ("field", "as it is", "corrected"):
        table.add_column(name, overflow="fold")
    for name in (*_SHOWN_ALWAYS, *(n for n in {**old, **new} if n not in _SHOWN_ALWAYS)):
        if name in _SHOWN_ALWAYS or old.get(name) != new.get(name):
            same = old.get(name) == new.get(name)
            table.add_row(name, Text(_shown(name, old)), Text("(stays)" if same else _shown(name, new)))
    console.print(table)
    if any(old.get(name) != new.get(name) for name in _PAYEE):
        say_path(_payee_change(old, new))


def _shown(name: str, content: Mapping[str, str]) -> str:
    value = content.get(name)
    if value is None:
        return "(none)"
    if name in _PAYEE:
        return _PAYEE[name](value)
    # What a merchant tells about its payees for LianLian's risk control is for nobody's screen.
    return f"({len(value)} characters)" if name == "risk_item" else safe_text(value)


def _payee_change(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    parts = []
    for name, what in (("card_no", "another account"), ("acct_name", "another name")):
        if old[name] != new[name]:
            before, after = _shown(name, old), _shown(name, new)
            hidden = ", which differs in what is hidden here" if before == after else ""
            parts.append(f"{what}, {after} instead of {before}{hidden}")
    return f"THE PAYEE CHANGES: {'; and '.join(parts)}."


def _ask_twins(twin: Payout, content: Mapping[str, str], *, yes: bool) -> None:
    text = (
        f"it would pay the same amount ({content['money_order']}) to the same account "
        f"({mask_card(content['card_no'])}) as {twin.no_order}, {twin.state} since {moment(twin.created_at)}"
    )
    if yes:
        raise CommandRefused(f"{text}: nothing was done; if both are meant, say so with --duplicate-ok")
    ask(f"{text[0].upper()}{text[1:]}. Is it meant as a further payment?")


async def _amend(
    config: Path | None, time_scale: float, no_order: str, wanted: Mapping[str, str], by: str, *,
    duplicate_ok: DuplicateOk,
    wait_s: float,
) -> Payout:  # fmt: skip
    stop = stop_event()
    async with a_client(config, time_scale) as client:
        await client.amend(no_order, wanted, by=by, duplicate_ok=duplicate_ok)
        return await follow(client, no_order, wait_s, stop)


# ---------------------------------------------------------------------- replace


@click.command()
@click.argument("no_order")
@click.option("--no-order", "new", help="The new number, for a payout without a key; with one it follows from the key.")
@by_option
@yes_option
@_duplicate_option
@wait_option
@config_option
@scale_option
def replace(
    no_order: str, new: str | None, by: str, yes: bool, duplicate_ok: bool, wait_s: float, config: Path | None,
    time_scale: float,
) -> int:  # fmt: skip
    """Pay again under a new number what is proven not to have been paid under the old one.

    Only a number that LianLian itself has failed, closed or refunded is replaced, and only once.
    """
    by = checked_name(by)
    payout, record, others = run_async(_replaceable)(config, time_scale, no_order, new)
    show([payout], "the old number")
    _show_end(record)
    if others and not duplicate_ok:
        _ask_twins(others[0], record.content, yes=yes)
    if record.replaced_by is not None:
        complain(f"{no_order} is replaced by {record.replaced_by} already, which is followed now")
    elif not yes:
        ask(
            f"Pay {wire_money(payout.money_order)} to {payout.card_no} ({payout.acct_name}) again, under "
            f"{new or 'a new number'}?"
        )
    meant = duplicate_ok or [other.no_order for other in others]
    paid = run_async(_replace)(config, time_scale, no_order, by, new, duplicate_ok=meant, wait_s=wait_s)
    show([paid], f"in the place of {no_order}")
    return status_of(paid)


async def _replaceable(
    config: Path | None, time_scale: float, no_order: str, new: str | None
) -> tuple[Payout, Record, list[Payout]]:
    """The payout, its record, and who may have paid meanwhile what its replacement would pay."""
    async with a_client(config, time_scale) as client:
        others = await client.check_replaceable(no_order, new_no_order=new)
        record = await client.journal.load(no_order)
        assert record is not None, "it was there just now, and a journal forgets nothing"
        return await client.get(no_order), record, others


def _show_end(record: Record) -> None:
    """The answer that proves that the number is dead."""
    ends = [e for e in record.evidence if e.source is Source.QUERY and row_of(e).effect.proves in _ENDS]
    if ends:
        say_path(f"    proof: {_proof(ends[-1])}")


def _proof(told: Evidence) -> str:
    bill = f", bill {told.oid_paybill}" if told.oid_paybill else ""
    reason = f" ({safe_text(told.detail)})" if told.detail else ""
    return f"asked on {moment(told.asked_at)}, LianLian says {told.result_pay}{reason}{bill}"


async def _replace(
    config: Path | None,
    time_scale: float,
    no_order: str,
    by: str,
    new: str | None,
    *,
    duplicate_ok: DuplicateOk,
    wait_s: float,
) -> Payout:
    stop = stop_event()
    async with a_client(config, time_scale) as client:
        successor = await client.replace(no_order, by=by, new_no_order=new, duplicate_ok=duplicate_ok)
        return await follow(client, successor.no_order, wait_s, stop)
