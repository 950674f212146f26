"""What the page signs: the browser's form cookie, the token in every form, and the word that follows a redirect.

A form's token belongs to one browser (by a random number in a signed cookie) and one person. Someone else's page
can make a browser send a form, but cannot know the token; and a browser that tells where a form came from is believed.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Final
from urllib.parse import urlsplit

from attrs import frozen
from itsdangerous import BadData, Signer, URLSafeSerializer
from starlette.requests import Request

from ..errors import ConfigError

__all__ = ["SECRET_CHARACTERS_MIN", "Seals", "Told", "is_from_elsewhere", "new_secret"]

SECRET_CHARACTERS_MIN: Final = 32
_REASON_CHARACTERS_MAX: Final = 400


def new_secret() -> str:
    """A secret for one process: forms and sessions end with it."""
    return secrets.token_urlsafe(48)


@frozen
class Told:
    """What came of a form, for the page that is shown next; `reason` is the client's English sentence."""

    kind: str
    no_order: str
    reason: str = ""


class Seals:
    """Everything that is signed with the page's secret; each use has a key of its own."""

    def __init__(self, secret: str) -> None:
        if len(secret) < SECRET_CHARACTERS_MIN:
            raise ConfigError(f"the review page's secret must have at least {SECRET_CHARACTERS_MIN} characters")
        self._token_key = hashlib.sha256(f"lianlian review form token\n{secret}".encode()).digest()
        self._ids = Signer(secret, salt="lianlian review id", digest_method=hashlib.sha256)
        self._told = URLSafeSerializer(
            secret, salt="lianlian review told", signer_kwargs={"digest_method": hashlib.sha256}
        )

    def new_id(self) -> str:
        """A new random number, signed."""
        return self._ids.sign(secrets.token_urlsafe(24)).decode()

    def is_id(self, cookie: str | None) -> bool:
        """True when this page made that number."""
        return cookie is not None and self._ids.validate(cookie)

    def token(self, form_id: str, who: str | None) -> str:
        """What a form must bring along: of this browser and this person (None: not signed in yet)."""
        bond = repr((form_id, who)).encode()
        return hmac.new(self._token_key, bond, hashlib.sha256).hexdigest()

    def is_token(self, token: str, form_id: str, who: str | None) -> bool:
        """True when the form is this browser's and this person's; takes the same time for every wrong one."""
        return hmac.compare_digest(token.encode(), self.token(form_id, who).encode())

    def tell(self, form_id: str, told: Told) -> str:
        """`told`, signed for this browser."""
        return str(self._told.dumps([form_id, told.kind, told.no_order, told.reason[:_REASON_CHARACTERS_MAX]]))

    def told(self, form_id: str, cookie: str | None) -> Told | None:
        """What was told to this browser, if it is genuine."""
        try:
            owner, *rest = self._told.loads(cookie or "")
        except BadData:
            return None
        return Told(*rest) if owner == form_id else None


def is_from_elsewhere(request: Request) -> bool:
    """True when the browser says that another site sent this form.

    Sec-Fetch-Site is the browser's own word; older browsers give the Origin, which must then be this host. What
    says neither is no browser that another site could misuse; it still needs the token.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site != "same-origin"
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != request.headers.get("host")
