"""LianLian Pay's instant payment (实时付款) for asyncio: a payout client that asks before it ever sends again.

async with LianLianClient(merchant, journal="sqlite:///payouts.db") as client:
    payout = await client.pay(order, key="salary-2026-11/emp-1042")
    payout.state, payout.step, payout.advice
"""

import logging

from ._version import __version__
from .client import LianLianClient
from .clock import Clock, SystemClock
from .config import Limits, Merchant, Settings, Timeouts
from .crypto import JournalKeys, KeyRing
from .errors import (
    BreakerOpen,
    CommandRefused,
    ConfigError,
    DuplicateSuspected,
    InvalidOrder,
    JournalUnavailable,
    LianLianError,
    NothingSent,
    NotificationRefused,
    OrderConflict,
    OutcomeUnknown,
)
from .gateway import Gateway
from .payout import Confirmation, Payout
from .protocol.messages import Order
from .resolver import State, Step
from .reviewing import Review
from .telling import Changed

# What is worth telling is told where the application wants it, and nowhere else.
logging.getLogger("lianlian_async").addHandler(logging.NullHandler())

__all__ = [
    "BreakerOpen",
    "Changed",
    "Clock",
    "CommandRefused",
    "ConfigError",
    "Confirmation",
    "DuplicateSuspected",
    "Gateway",
    "InvalidOrder",
    "JournalKeys",
    "JournalUnavailable",
    "KeyRing",
    "LianLianClient",
    "LianLianError",
    "Limits",
    "Merchant",
    "NothingSent",
    "NotificationRefused",
    "Order",
    "OrderConflict",
    "OutcomeUnknown",
    "Payout",
    "Review",
    "Settings",
    "State",
    "Step",
    "SystemClock",
    "Timeouts",
    "__version__",
]
