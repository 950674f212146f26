"""Who is signed in, and how often somebody may try. Kept in memory: a restart signs everybody out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import Final, TypeVar

from attrs import define, field

from ..clock import Clock
from .people import Verifier

__all__ = ["Attempts", "Session", "Sessions", "place_of"]

_LASTS: Final = timedelta(hours=8)
_IDLE: Final = timedelta(minutes=30)
_SESSIONS_MAX: Final = 1000

_WINDOW_OF_NAME: Final = timedelta(minutes=5)
_TRIES_OF_NAME: Final = 5
_WINDOW_OF_ALL: Final = timedelta(minutes=1)
_TRIES_OF_PLACE: Final = 20
_TRIES_OF_ALL: Final = 60
_PLACES_MAX: Final = 1000

K = TypeVar("K")


@define
class Session:
    """One person in one browser; it ends when the person's line in the users file changes."""

    who: str
    verifier: Verifier
    began_at: datetime
    seen_at: datetime


@define
class Sessions:
    """The sessions of this process: 8 hours at most, and 30 minutes without a request."""

    clock: Clock
    new_id: Callable[[], str]
    _sessions: dict[str, Session] = field(factory=dict, repr=False)

    def begin(self, who: str, verifier: Verifier) -> str:
        """A new session; returns its id for the cookie."""
        now = self.clock.now()
        self._sessions = {key: session for key, session in self._sessions.items() if _lives(session, now)}
        while len(self._sessions) >= _SESSIONS_MAX:
            del self._sessions[next(iter(self._sessions))]
        key = self.new_id()
        self._sessions[key] = Session(who, verifier, now, now)
        return key

    def find(self, key: str | None) -> Session | None:
        """The session of a cookie, if it has not ended; this counts as its newest request."""
        session = self._sessions.get(key or "")
        if key is None or session is None:
            return None
        now = self.clock.now()
        if not _lives(session, now):
            self.end(key)
            return None
        session.seen_at = now
        return session

    def end(self, key: str | None) -> None:
        """Forget a session: its cookie is worth nothing from now on, wherever a copy of it lies."""
        self._sessions.pop(key or "", None)


def _lives(session: Session, now: datetime) -> bool:
    return now - session.began_at < _LASTS and now - session.seen_at < _IDLE


@define
class Attempts:
    """How often somebody tried to sign in: five times a name from one place in five minutes, twenty times a place
    and sixty times in all in one minute.

    A place is the browser's address. Wrong passwords from elsewhere lock nobody out: neither a name is counted over all
    places, nor does the limit over all hold for a place from which somebody has signed in before.
    """

    clock: Clock
    _all: deque[datetime] = field(factory=deque)
    _of_place: dict[str, deque[datetime]] = field(factory=dict)
    _of_name: dict[tuple[str, str], deque[datetime]] = field(factory=dict)
    _known: dict[str, None] = field(factory=dict)

    def allowed(self, name: str, place: str) -> bool:
        """Whether one more may be made now; if so, it is counted. Unknown names are counted like known ones."""
        now = self.clock.now()
        _forget(self._all, now - _WINDOW_OF_ALL)
        self._of_place = _remembered(self._of_place, now - _WINDOW_OF_ALL)
        self._of_name = _remembered(self._of_name, now - _WINDOW_OF_NAME)
        mine = self._of_name.get((name, place), deque())
        here = self._of_place.get(place, deque())
        crowded = len(self._all) >= _TRIES_OF_ALL and place not in self._known
        if crowded or len(here) >= _TRIES_OF_PLACE or len(mine) >= _TRIES_OF_NAME:
            return False
        for tries in (self._all, here, mine):
            tries.append(now)
        self._of_place[place], self._of_name[name, place] = here, mine
        return True

    def forgive(self, name: str, place: str) -> None:
        """The right password came: the name's wrong ones from there do not count any more, and the place is known."""
        self._of_name.pop((name, place), None)
        self._known.pop(place, None)
        self._known[place] = None
        while len(self._known) > _PLACES_MAX:
            del self._known[next(iter(self._known))]


def place_of(address: str) -> str:
    """The place that an address belongs to: itself, or for IPv6 the network of 64 bits that one line is given.

    A port does not count, and what is no address is one place: whoever makes addresses up does not get more tries.
    """
    host = address.partition("]")[0].lstrip("[") if "]" in address else address
    host = host.partition(":")[0] if host.count(":") == 1 else host.partition("%")[0]
    try:
        parsed = ip_address(host)
    except ValueError:
        return "?"
    plain = getattr(parsed, "ipv4_mapped", None) or parsed
    return str(plain) if plain.version == 4 else str(ip_network((int(plain), 64), strict=False))


def _remembered(tries: Mapping[K, deque[datetime]], before: datetime) -> dict[K, deque[datetime]]:
    for moments in tries.values():
        _forget(moments, before)
    return {key: moments for key, moments in tries.items() if moments}


def _forget(tries: deque[datetime], before: datetime) -> None:
    while tries and tries[0] <= before:
        tries.popleft()
