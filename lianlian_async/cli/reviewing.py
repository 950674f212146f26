"""`review`: people decide on payouts that the gateway holds for them: 4002, 4003 and 4004 (specification 2.1, 3.2).

Nothing here confirms by itself. What is asked stands between two runs of the event loop, so that Ctrl-C works as
usual while somebody thinks; whether the decision is still allowed is found out again right before it is made.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
from attrs import frozen
from rich.text import Text

from ..client import LianLianClient
from ..config import Settings
from ..errors import CommandRefused
from ..payout import Confirmation, Payout
from ..people import checked_name, checked_note
from ..protocol.fields import safe_text, wire_money
from ..resolver import State
from ..resolver.permits import same_person
from ..reviewing import Review
from .asking import a_client, ask, follow, status_of, wait_option, yes_option
from .common import complain, config_option, console, json_option, run_async, scale_option, stop_event
from .look import show
from .operate import by_option
from .trail import moment

__all__ = ["review"]

_SECOND = "review, second person"
_APPROVED = {
    None: "approved; nothing was sent, a second person must approve",
    Confirmation.NOT_SENT: "approved, but the confirmation was not sent: nothing has left",
    Confirmation.SENT: "approved, and the confirmation was sent",
    Confirmation.UNKNOWN: "approved; the confirmation may have left and is being queried: do not approve again",
}
note_option = click.option("--note", required=True, help="Why; it stays on record with the name.")


@click.group()
def review() -> None:
    """Decide on payouts that LianLian holds for a person: suspected duplicates, and names that do not fit the card."""


# ---------------------------------------------------------------------- looking


@review.command("list")
@config_option
@json_option
@scale_option
@click.option("--offline", is_flag=True, help="Ask nobody: show everything as it is known here.")
@run_async
async def list_(config: Path | None, as_json_: bool, time_scale: float, offline: bool) -> None:
    """All held payouts, those with the least time left first, each with what else went to the same card today.

    LianLian is asked about those others, 100 at most, at the common pace of queries.
    """
    async with a_client(config, time_scale) as client:
        reviews = await client.reviews(fresh=not offline)
        pause = await client.paused()
    if as_json_:
        for held in reviews:
            click.echo(_as_json(held))
        return
    console.print(Text(f"{len(reviews)} payouts wait for a person's decision", style="bold"))
    for held in reviews:
        _show(held)
    if reviews and pause is not None:
        complain(f"new money is paused by {pause.by}, so nothing can be approved: {pause.reason}")


@review.command("show")
@click.argument("no_order")
@config_option
@json_option
@scale_option
@run_async
async def show_(no_order: str, config: Path | None, as_json_: bool, time_scale: float) -> int:
    """One held payout: why, until when, and what else went to the same card today; all freshly queried."""
    async with a_client(config, time_scale) as client:
        seen = await _look(client, no_order)
    click.echo(_as_json(seen.review)) if as_json_ else _show(seen.review)
    return seen.status()


@frozen
class _Seen:
    """A held payout as the gateway tells it just now; `heard` is False when it did not tell."""

    review: Review
    heard: bool

    def status(self) -> int:
        """0, or 3 after it is said that the gateway gave no answer."""
        if not self.heard:
            complain("the gateway gave no usable answer: this is what was known before")
        return 0 if self.heard else 3


async def _look(client: LianLianClient, no_order: str) -> _Seen:
    """Ask about the payout and its siblings; raises CommandRefused when it is not, or no more, under review."""
    payout, asked_at = await client.get(no_order), client.clock.now()
    if payout.state is State.REVIEW:
        payout = await client.query(no_order)
    if payout.state is not State.REVIEW:
        raise CommandRefused(f"{no_order} is {payout.state}, and not under review: {payout.advice}")
    heard = payout.heard_at is not None and payout.heard_at >= asked_at
    return _Seen(await client.review(no_order), heard)


def _show(held: Review) -> None:
    """A held payout for a person."""
    p = held.payout
    _line(f"{p.no_order}  {wire_money(p.money_order)}  {p.state}", indent=0)
    _line("  ".join(filter(None, (p.card_no, p.acct_name, p.key))))
    _line(f"held since {moment(held.held_at)}: {' '.join(filter(None, (held.code, held.why)))}")
    if held.refusal is None and held.confirm_until is not None:
        _line(
            f"to be decided within {held.minutes_left} minutes (until {moment(held.confirm_until)}), "
            f"{held.tries_left} tries left"
        )
    else:
        _line(f"cannot be approved here: {held.refusal}")
    for word in held.words:
        seen = f" [siblings seen: {word.seen}]" if word.seen else ""
        _line(f"{moment(word.at)} {word.by} {'approved' if word.approves else 'declined'} it: {word.note}{seen}")
    if p.rule == _SECOND:
        _line(p.advice)
    how = "" if held.asked_at else " (as known here, nobody was asked)"
    _line(
        f"the same amount to the same card, today or within 24 hours{how}:" if held.siblings else "no other such payout"
    )
    for sibling in held.siblings:
        silent = "  (no answer about it just now)" if sibling.no_order in held.unanswered else ""
        _line(f"{_sibling(sibling)}{silent}", indent=8)
    if held.more_siblings:
        _line(f"and {held.more_siblings} more; those that paid or may still pay come first", indent=8)


def _sibling(p: Payout) -> str:
    return "  ".join(filter(None, (p.no_order, p.state, f"of {moment(p.created_at)}", p.key)))


def _line(text: str, indent: int = 4) -> None:
    console.print(Text(" " * indent + safe_text(text, limit=900)), soft_wrap=True)


def _as_json(held: Review) -> str:
    """A held payout as one JSON object: the names of `status --json`, and what a decision needs."""
    words = [
        {"by": w.by, "at": w.at.isoformat(), "note": w.note, "approves": w.approves, "seen": w.seen} for w in held.words
    ]
    return json.dumps(
        {
            **held.payout.as_dict(),
            "card_no": held.payout.card_no,
            "acct_name": held.payout.acct_name,
            "code": held.code,
            "why": held.why,
            "held_at": held.held_at.isoformat(),
            "confirm_until": held.confirm_until.isoformat() if held.confirm_until else None,
            "minutes_left": held.minutes_left,
            "tries_left": held.tries_left,
            "siblings": [_sibling_fields(held, sibling) for sibling in held.siblings],
            "more_siblings": held.more_siblings,
            "words": words,
            "refusal": held.refusal,
        },
        ensure_ascii=False,
    )


def _sibling_fields(held: Review, sibling: Payout) -> dict[str, Any]:
    """`answered` is null when nobody was asked."""
    answered = None if held.asked_at is None else sibling.no_order not in held.unanswered
    return {**sibling.as_dict(), "answered": answered}


# ---------------------------------------------------------------------- deciding


@review.command()
@click.argument("no_order")
@note_option
@by_option
@click.option(
    "--two-person",
    is_flag=True,
    help="Two people must approve before it is confirmed.  [always, where the settings say two_person]",
)
@click.option("--second", help="Where two must approve: the other person's name.  [asked for on a terminal]")
@yes_option
@wait_option
@config_option
@scale_option
def approve(
    no_order: str, note: str, by: str, two_person: bool, second: str | None, yes: bool, wait_s: float,
    config: Path | None, time_scale: float,
) -> int:  # fmt: skip
    """Say that a held payout is meant: it is confirmed, once, and followed.

    Where two must approve the first approval is written down and confirms nothing; the second, by another person, does.
    """
    by, note = checked_name(by), checked_note(note)
    two_person = two_person or Settings.load(config).two_person
    if second is not None and not two_person:
        raise click.UsageError("--second names the second of two people: it needs --two-person")
    if second is not None:
        _require_another(by, second)
    seen = run_async(_seen)(config, time_scale, no_order)
    _show(seen.review)
    if status := seen.status():
        complain("nothing was approved")
        return status
    if seen.review.refusal is not None:
        raise CommandRefused(f"{no_order} cannot be approved: {seen.review.refusal}")
    if not yes:
        ask("Is this payout meant? Approve it?")
    names = [by, *_second(seen.review, by, second, two_person=two_person, yes=yes)]
    payout = run_async(_approve)(config, time_scale, seen.review, names, note, two_person=two_person, wait_s=wait_s)
    show([payout], _APPROVED[payout.confirmation])
    return status_of(payout)


async def _seen(config: Path | None, time_scale: float, no_order: str) -> _Seen:
    async with a_client(config, time_scale) as client:
        return await _look(client, no_order)


def _require_another(by: str, second: str) -> str:
    second = checked_name(second)
    if same_person(by, second):
        raise CommandRefused(f"{second} is the first person already: the second must be another; nothing was done")
    return second


def _second(held: Review, by: str, second: str | None, *, two_person: bool, yes: bool) -> list[str]:
    """The second person, if somebody is named who approves right now."""
    if held.approvals:
        if second is not None:
            raise CommandRefused(
                f"{held.approvals[0]} has approved it already, so {by} is the second: leave --second out; "
                "nothing was done"
            )
        return []
    if two_person and second is None and not yes and sys.stdin.isatty():
        question = "Who is the second person? (empty: they approve later, with the same command)"
        second = click.prompt(question, default="", show_default=False).strip()
    return [_require_another(by, second)] if second else []


async def _approve(
    config: Path | None, time_scale: float, seen: Review, names: list[str], note: str, *, two_person: bool,
    wait_s: float,
) -> Payout:  # fmt: skip
    stop, no_order = stop_event(), seen.payout.no_order
    async with a_client(config, time_scale, two_person=two_person) as client:
        if _rests_on(await client.review(no_order)) != _rests_on(seen):
            raise CommandRefused(
                f"{no_order}: a payout to the same card moved, or somebody spoke, while you decided: look at it again; "
                "nothing was approved"
            )
        payout = await client.approve(no_order, by=names[0], note=note)
        for name in names[1:]:
            try:
                payout = await client.approve(no_order, by=name, note=note)
            except CommandRefused as error:
                raise CommandRefused(f"{error} (the approval of {names[0]} is on record)") from error
        # Where one of two has approved, nothing moves until the other one does.
        return payout if payout.rule == _SECOND else await follow(client, no_order, wait_s, stop)


def _rests_on(held: Review) -> object:
    """What a decision rests on and may change while somebody thinks."""
    return [(p.no_order, p.state) for p in held.siblings], held.words


@review.command()
@click.argument("no_order")
@note_option
@by_option
@config_option
@scale_option
@run_async
async def decline(no_order: str, note: str, by: str, config: Path | None, time_scale: float) -> int:
    """Say that a held payout is not meant: nothing is sent, and it is queried until LianLian closes it.

    Until then it can still be confirmed in the merchant portal.
    """
    async with a_client(config, time_scale) as client:
        payout = await client.decline(no_order, by=by, note=note)
    show([payout], "declined")
    return status_of(payout)
