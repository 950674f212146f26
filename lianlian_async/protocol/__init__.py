"""What the specification says, as values: fields, messages, banks and return codes. No I/O, no keys."""

from __future__ import annotations

from lianlian_async.protocol.banks import Bank, Banks, CorporateBank, load_banks
from lianlian_async.protocol.fields import (
    FIELDS,
    looks_rounded,
    mask_card,
    mask_name,
    parse_money,
    safe_text,
    wire_money,
)
from lianlian_async.protocol.messages import (
    ConfirmAnswer,
    Notification,
    Order,
    PayAnswer,
    QueryAnswer,
    confirm_members,
    content_hash,
    freeze,
    query_members,
)

__all__ = [
    "FIELDS",
    "Bank",
    "Banks",
    "ConfirmAnswer",
    "CorporateBank",
    "Notification",
    "Order",
    "PayAnswer",
    "QueryAnswer",
    "confirm_members",
    "content_hash",
    "freeze",
    "load_banks",
    "looks_rounded",
    "mask_card",
    "mask_name",
    "parse_money",
    "query_members",
    "safe_text",
    "wire_money",
]
