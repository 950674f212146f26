"""Safety.md section 3, written down a second time and in another way than the code: plain predicates over plain lists.

Nothing here looks at a `View`, a row or a rule. Each predicate answers "may it?" with the name of the broken rule,
or with an empty text when the law permits it. The lead's deliberate choices are marked (1) to (7).
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from lianlian_async.protocol.ret_codes import Source
from lianlian_async.resolver.evidence import Attempt, Evidence, Outcome

ACCEPTED_CODES = frozenset({"0000", "2005"})
REVIEW_CODES = frozenset({"4002", "4003", "4004"})
REFUSING_CODES = frozenset(
    {"1001", "1004", "1005", "3001", "4005", "4012", "4013", "4014", "4015", "9104", "9910", "9911", "9912", "9913"}
)
TO_BE_MENDED_CODES = (REFUSING_CODES | {"1008"}) - {"4012", "4014"}
CLOSING_CONFIRM_CODES = frozenset({"4008", "4010", "4011"})
GRACE = timedelta(seconds=300)
FRESH = timedelta(seconds=300)
DAY = timedelta(days=1)
SENDS_MAX = 5
# A person has mended something: the same number may go on.
RELEASES = (Outcome.RESUMED, Outcome.AMENDED)


def pays_of(attempts: Collection[Attempt]) -> list[Attempt]:
    return sorted((a for a in attempts if a.source is Source.PAY), key=lambda a: a.number)


def is_no_record(e: Evidence) -> bool:
    return e.source is Source.QUERY and e.outcome is Outcome.ANSWERED and e.ret_code == "8901"


def _word(e: Evidence) -> str | None:
    """`result_pay` where it counts: a bound query answer 0000, or a bound notification."""
    if e.outcome is not Outcome.ANSWERED:
        return None
    if e.source in (Source.NOTIFY, Source.STATEMENT) or (e.source is Source.QUERY and e.ret_code == "0000"):
        return e.result_pay
    return None


def _is_final_failure(e: Evidence) -> bool:
    """FAILED+: the answer names its bill. 3.4's "or in an earlier bound answer" is not safe: see `test_walks`."""
    return _word(e) == "FAILURE" and bool(e.oid_paybill)


def is_failed0(e: Evidence) -> bool:
    return _word(e) == "FAILURE" and not e.oid_paybill


def ends_of(everything: Collection[Evidence]) -> dict[str, set[Source]]:
    """The proven ends, and who said so."""
    ends: dict[str, set[Source]] = {}
    names = {"SUCCESS": "PAID", "CLOSED": "CLOSED", "CANCEL": "REFUNDED"}
    for e in everything:
        word = _word(e)
        if word == "FAILURE" and _is_final_failure(e):
            ends.setdefault("FAILED", set()).add(e.source)
        elif word in names:
            ends.setdefault(names[word], set()).add(e.source)
    return ends


def in_conflict(everything: Collection[Evidence]) -> bool:
    """3.4, 3.6, R7; choice (1): three answers of other orders."""
    asked = (Source.QUERY, Source.NOTIFY, Source.STATEMENT)
    if any(e.outcome is Outcome.MISMATCHED and e.source in asked for e in everything):
        return True
    if sum(e.outcome is Outcome.FOREIGN and e.source is Source.QUERY for e in everything) >= 3:
        return True
    ends = set(ends_of(everything))
    return len(ends) > 1 and ends != {"PAID", "REFUNDED"}


def progress_of(everything: Collection[Evidence]) -> str | None:
    """IN_PROGRESS or REVIEW: accepted, then under review, then at the bank."""
    found: set[str] = set()
    for e in everything:
        if e.outcome is not Outcome.ANSWERED:
            continue
        word, code = _word(e), e.ret_code
        if word in ("PROCESSING", "WAITING") or (e.source is Source.CONFIRM and code == "0000"):
            found.add("bank")
        elif (
            word == "CHECK"
            or (e.source is Source.PAY and code in REVIEW_CODES)
            or (e.source is Source.CONFIRM and code in CLOSING_CONFIRM_CODES)
        ):
            found.add("review")
        elif (word and word not in ("SUCCESS", "FAILURE", "CANCEL", "CLOSED")) or (
            e.source is Source.PAY and code in ACCEPTED_CODES
        ):
            found.add("accepted")
        elif e.oid_paybill:
            found.add("accepted")  # the bill comes with the order's creation
    if "bank" in found:
        return "IN_PROGRESS"
    return "REVIEW" if "review" in found else "IN_PROGRESS" if found else None


def sent_of(attempts: Collection[Attempt], everything: Collection[Evidence]) -> list[Attempt]:
    """The attempts of pay that may have left: all but those of which everything proves that no byte left."""

    def unsent(a: Attempt) -> bool:
        about = [e for e in everything if e.source is Source.PAY and e.attempt == a.number]
        return bool(about) and all(e.outcome in (Outcome.NOT_SENT, Outcome.UNTRUSTED) for e in about)

    return [a for a in pays_of(attempts) if not unsent(a)]


def unanswered_of(attempts: Collection[Attempt], everything: Collection[Evidence]) -> list[Attempt]:
    """Those of them that no bound refusal has answered."""

    def answered(a: Attempt) -> bool:
        for e in everything:
            if e.source is Source.PAY and e.attempt == a.number and e.outcome is Outcome.ANSWERED:
                if e.ret_code in REFUSING_CODES:
                    return True
                if e.ret_code == "1008" and any(is_no_record(q) and q.asked_at >= e.at for q in everything):
                    return True
        return False

    return [a for a in sent_of(attempts, everything) if not answered(a)]


def failed_alone(attempts: Collection[Attempt], everything: Collection[Evidence]) -> bool:
    """FAILED0 (design 2: REFUSED) shows what became of an attempt only where there was just one."""
    sent = sent_of(attempts, everything)
    return len(sent) == 1 and any(is_failed0(e) and e.asked_at >= sent[0].started_at for e in everything)


def state_of(attempts: Collection[Attempt], everything: Collection[Evidence]) -> str:
    if in_conflict(everything):
        return "CONFLICT"
    ends = ends_of(everything)
    if ends:
        return "REFUNDED" if "REFUNDED" in ends else next(iter(ends))
    progress = progress_of(everything)
    if progress:
        return progress
    if not sent_of(attempts, everything):
        return "UNKNOWN" if any(is_failed0(e) for e in everything) else "UNSENT"
    if failed_alone(attempts, everything):
        return "REFUSED"
    return "UNKNOWN" if unanswered_of(attempts, everything) else "REFUSED"


def has_record(everything: Collection[Evidence]) -> bool:
    return bool(in_conflict(everything) or ends_of(everything) or progress_of(everything))


def replace_breaks(everything: Collection[Evidence]) -> str:
    """Which rule forbids a new number."""
    if in_conflict(everything):
        return "CONFLICT"
    ends = ends_of(everything)
    dead = [end for end in ("FAILED", "CLOSED", "REFUNDED") if Source.QUERY in ends.get(end, ())]
    if not dead:
        return "R4, R8: no bound query said FAILURE with a bill, CLOSED or CANCEL"
    return "R7: paid" if set(ends) == {"PAID"} else ""


def submit_breaks(
    attempts: Collection[Attempt], everything: Collection[Evidence], created: datetime, now: datetime, *, paused: bool
) -> str:
    """Which rule forbids to send the number now."""
    if paused:
        return "the breaker"
    if has_record(everything):
        return "a record was seen"
    pays, sent = pays_of(attempts), sent_of(attempts, everything)
    queries = [e for e in everything if e.source is Source.QUERY]
    if not pays and not queries and now - created <= FRESH:
        return ""  # the very first send, choice (3)
    facts = [a.started_at for a in pays] + [e.at for e in everything if _resets(e)]
    since = max(facts, default=created)
    counted = [e for e in everything if (is_no_record(e) or is_failed0(e)) and e.source is Source.QUERY]
    counted = [e for e in counted if e.asked_at >= since]
    if not counted:
        return "R1: no query says 'no record' since the last fact"
    if now - max(e.at for e in counted) > FRESH:
        return "choice (5): the 'no record' is old"
    unanswered = unanswered_of(attempts, everything)
    if unanswered:
        grace_end = max(a.deadline_at for a in unanswered) + GRACE
        if len(counted) < 3 or max(e.asked_at for e in counted) < grace_end:
            return "R2: three answers and the grace"
    resumed = max((e.at for e in everything if e.outcome in RELEASES), default=None)
    released = resumed is not None and (not sent or resumed >= sent[-1].started_at)
    if now - created > DAY and not released:
        return "R3: older than 24 hours"
    if len(sent) >= SENDS_MAX and not released:
        return "R3: five sends"
    return _unmended(sent, everything, resumed)


def _resets(e: Evidence) -> bool:
    if e.outcome in (*RELEASES, Outcome.FOREIGN):
        return True
    if e.source is not Source.PAY:
        return False
    if e.outcome in (Outcome.NOT_SENT, Outcome.UNTRUSTED):
        return True
    return e.outcome is Outcome.ANSWERED and e.ret_code in REFUSING_CODES


def _unmended(sent: list[Attempt], everything: Collection[Evidence], resumed: datetime | None) -> str:
    """3.2, 3.7: whoever must mend something has to say so first."""
    if not sent:
        return ""
    told = (Outcome.ANSWERED, Outcome.NUMBERLESS)
    about = [e for e in everything if e.source is Source.PAY and e.attempt == sent[-1].number]
    for e in about:
        if e.outcome in told and e.ret_code in TO_BE_MENDED_CODES and (resumed is None or resumed < e.at):
            return f"X: {e.ret_code} is not mended"
    return ""
