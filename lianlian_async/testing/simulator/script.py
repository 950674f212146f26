"""Scripts: what the gateway does with one number, call by call, instead of deciding or drawing it.

    simulator.script("no1", pay=["9999_after"], final="FAILURE", reason="账户异常")
    simulator.script({"acct_name": "李三"}, pay=["4003"], confirm=["4011", None])
    simulator.script("no2", query=["8901", "8901", None], timeline=[("APPLY", 0), ("WAITING", 5), ("SUCCESS", 60)])

A step is a ret_code (with that code's genuine effect), the name of a fault, a `Step` for anything finer,
or None for "as usual". `...` at the end repeats the last step for ever. A number with a script is never
hit by the profile's faults.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import EllipsisType

from attrs import field, frozen

from .codes import Endpoint
from .faults import FAULTS, NOTICE_FAULTS, Fault

__all__ = ["Script", "Scripts", "Step", "StepLike"]


def _members(value: Mapping[str, str | None]) -> Mapping[str, str | None]:
    return dict(value)


@frozen
class Step:
    """One call's treatment.

    `ret_code` is the code the answer carries (None: what comes of it). `booked` says whether the request is
    carried out behind that code: None for the code's own meaning, True for carried out as usual, False for
    nothing at all. `fault` names a row of `FAULTS`. `members` replaces members of the answer before it is signed
    (None takes one out). `late_s` and `lag_s` fix, in seconds, what a fault would draw.
    """

    ret_code: str | None = None
    booked: bool | None = None
    fault: str | None = None
    members: Mapping[str, str | None] = field(factory=dict, converter=_members, repr=False)
    late_s: float | None = None
    lag_s: float | None = None

    def __attrs_post_init__(self) -> None:
        if self.fault is not None and self.fault not in FAULTS:
            raise ValueError(f"no such fault: {self.fault}")

    @property
    def row(self) -> Fault | None:
        """The fault's row of the table."""
        return FAULTS[self.fault] if self.fault is not None else None


StepLike = str | Step | None | EllipsisType


@frozen
class Script:
    """What is laid down for one number."""

    pay: tuple[Step | EllipsisType, ...] = ()
    confirm: tuple[Step | EllipsisType, ...] = ()
    query: tuple[Step | EllipsisType, ...] = ()
    notify: tuple[str | EllipsisType | None, ...] = ()
    timeline: tuple[tuple[str, float], ...] | None = None
    reason: str | None = None

    def step(self, endpoint: Endpoint, index: int) -> Step:
        """The step for the call with this index, counted from 0 for each endpoint."""
        steps: tuple[Step | EllipsisType, ...] = getattr(self, endpoint)
        found = _at(steps, index)
        return found if isinstance(found, Step) else Step()

    def notice_fault(self, index: int) -> str | None:
        """What happens to the notification with this index, counted from 0."""
        found = _at(self.notify, index)
        return found if isinstance(found, str) else None


def _at(steps: Sequence[object], index: int) -> object | None:
    endless = bool(steps) and steps[-1] is ...
    plain = steps[:-1] if endless else steps
    if index < len(plain):
        return plain[index]
    return plain[-1] if endless and plain else None


def _step(given: StepLike) -> Step | EllipsisType:
    if given is None:
        return Step()
    if isinstance(given, Step) or given is ...:
        return given
    return Step(fault=given) if given in FAULTS else Step(ret_code=given)


_AFTER_S = 5.0
_CANCEL_AFTER_S = 60.0


def _timeline(
    final: str | None, after_s: float | None, cancel_after_s: float | None
) -> tuple[tuple[str, float], ...] | None:
    """The short form: PROCESSING at once, then `final`; CANCEL comes after a SUCCESS."""
    if final is None and after_s is None:
        return None
    final = final or "SUCCESS"
    after = _AFTER_S if after_s is None else after_s
    if final == "CANCEL":
        gap = _CANCEL_AFTER_S if cancel_after_s is None else cancel_after_s
        return (("PROCESSING", 0.0), ("SUCCESS", after), ("CANCEL", after + gap))
    if final == "PROCESSING":
        return (("PROCESSING", 0.0),)
    return (("PROCESSING", 0.0), (final, after))


class Scripts:
    """All scripts: by number, or by members of the pay request for numbers not known beforehand."""

    def __init__(self) -> None:
        self._by_number: dict[str, Script] = {}
        self._by_members: list[tuple[Mapping[str, str], Script]] = []

    def add(
        self,
        which: str | Mapping[str, str],
        *,
        pay: Sequence[StepLike] = (),
        confirm: Sequence[StepLike] = (),
        query: Sequence[StepLike] = (),
        notify: Sequence[str | EllipsisType | None] = (),
        final: str | None = None,
        after_s: float | None = None,
        cancel_after_s: float | None = None,
        timeline: Sequence[tuple[str, float]] | None = None,
        reason: str | None = None,
    ) -> None:
        """Lay down a script; see `Simulator.script`."""
        if unknown := {name for name in notify if isinstance(name, str)} - NOTICE_FAULTS:
            raise ValueError(f"no such notification fault: {', '.join(sorted(unknown))}")
        script = Script(
            pay=tuple(_step(given) for given in pay),
            confirm=tuple(_step(given) for given in confirm),
            query=tuple(_step(given) for given in query),
            notify=tuple(notify),
            timeline=tuple(timeline) if timeline is not None else _timeline(final, after_s, cancel_after_s),
            reason=reason,
        )
        if isinstance(which, str):
            self._by_number[which] = script
        else:
            self._by_members.append((dict(which), script))

    def bind(self, content: Mapping[str, str | None]) -> None:
        """A pay request has come: what is laid down for its members now belongs to its number."""
        no_order = content.get("no_order")
        if not no_order or no_order in self._by_number:
            return
        for members, script in self._by_members:
            if all(content.get(name) == value for name, value in members.items()):
                self._by_number[no_order] = script
                return

    def of(self, no_order: str | None) -> Script | None:
        """The script of a number, if there is one."""
        return self._by_number.get(no_order or "")
