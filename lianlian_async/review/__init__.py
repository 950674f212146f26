"""The page on which people decide on payouts that LianLian holds (4002, 4003, 4004): docs/review.md.

    from lianlian_async.review import review_app

    app.mount("/review", review_app(client, identify=who_is_signed_in))

It comes with the extra `review`; `lianlian-async review serve` serves it alone, with a sign-in of its own.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from .desk import Desk, Review, Word

if TYPE_CHECKING:
    from .app import review_app
    from .serve import serve_reviews
    from .signin import signed_in_app

__all__ = ["Desk", "Review", "Word", "review_app", "serve_reviews", "signed_in_app"]

_NEEDS_THE_EXTRA = {"review_app": ".app", "serve_reviews": ".serve", "signed_in_app": ".signin"}


def __getattr__(name: str) -> Any:
    """What needs the extra is imported when it is asked for: managing the users file does not."""
    if name not in _NEEDS_THE_EXTRA:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(_NEEDS_THE_EXTRA[name], __name__), name)
    except ImportError as missing:
        raise ConfigError(
            f"the review page needs the package {missing.name}: pip install 'lianlian-async[review]'"
        ) from missing
