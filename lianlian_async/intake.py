"""From an order and a key to an intent: content frozen, number derived, and compared with what exists."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from attrs import evolve

from .clock import wire_time
from .config import Merchant
from .errors import InvalidOrder, OrderConflict
from .journal import Record
from .numbers import check_key, derive
from .protocol.messages import Order, content_hash, freeze

__all__ = ["intent_of", "require_reachable", "require_same"]


def intent_of(order: Order, key: str | None, merchant: Merchant, now: datetime) -> Record:
    """The record that `order` would become under `key`; raises InvalidOrder (specification 3.1)."""
    if key is None and order.no_order is None:
        raise InvalidOrder(
            "no_order", "is missing, and there is no key to derive it from", "give a key, unique for ever"
        )
    checked = None if key is None else check_key(key)
    partner = merchant.oid_partner
    content = freeze(
        order, oid_partner=partner, no_order=order.no_order or derive(partner, checked or ""), dt_order=wire_time(now),
        notify_url=merchant.notify_url, platform=merchant.platform,
    )  # fmt: skip
    require_reachable(merchant, content)
    return Record(content["no_order"], checked, partner, content, content_hash(content), created_at=now, due_at=now)


def require_reachable(merchant: Merchant, content: Mapping[str, str]) -> None:
    """Raise InvalidOrder when the content's own `notify_url` breaks what the configured one must keep."""
    fault = merchant.notify_url_fault(content["notify_url"])
    if fault is not None:
        raise InvalidOrder("notify_url", *fault)


def require_same(order: Order, intent: Record, stored: Record, merchant: Merchant) -> None:
    """Raise OrderConflict unless `stored` is this very order under this very name.

    What the caller left open (`dt_order`, `notify_url`, `platform`) is as it was when it was first asked for:
    the clock and the configuration may have changed since, and content never does. Where a person amended it, the
    content that was asked for first still names it.
    """
    if stored.stands_for(intent.content_hash) and intent.key in (None, stored.key):
        return
    fill = stored.content
    differs = []
    if order.no_order not in (None, stored.no_order):
        differs.append("no_order")
    if intent.key not in (None, stored.key):
        differs.append("key")
    again = freeze(
        evolve(order, no_order=stored.no_order), oid_partner=merchant.oid_partner, no_order=None,
        dt_order=fill["dt_order"], notify_url=fill["notify_url"], platform=fill.get("platform"),
    )  # fmt: skip
    if not stored.stands_for(content_hash(again)):
        differs += sorted(name for name in {*again, *fill} if again.get(name) != fill.get(name))
    elif differs:
        name = "its number alone" if stored.key is None else f"the key {stored.key}"
        raise OrderConflict(
            f"{stored.no_order} is the same payment under another name (different: {', '.join(differs)}; it goes by "
            f"{name}): nothing was sent; ask for it by that, and do not pay it under another key"
        )
    if differs:
        raise OrderConflict(
            f"{stored.no_order} already stands for another order (different: {', '.join(differs)}): "
            "nothing was sent; use another key for another payment"
        )
