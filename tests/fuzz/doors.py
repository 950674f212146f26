"""What stands behind each door: our side's keys, the order that was sent, and how a body is read by the real code.

The keys in `keys/` were made for these tests and protect nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fuzz.pen import Pen
from lianlian_async import KeyRing, Merchant
from lianlian_async.codec import open_message
from lianlian_async.crypto import load_private_key
from lianlian_async.protocol.answers import ConfirmAnswer, PayAnswer, QueryAnswer
from lianlian_async.protocol.messages import Order, freeze
from lianlian_async.receiving import Receiver
from lianlian_async.testing.clocks import ManualClock

HERE = Path(__file__).parent
OID_PARTNER = "201606020000150062"
NO_ORDER = "PAYOUT-0001"
BILL = "2026112300000001"
NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)


def key(name: str) -> bytes:
    return (HERE / "keys" / f"{name}.pem").read_bytes()


# As bytes: in a checkout these files are open to others, which the loader rightly refuses.
RING = KeyRing.load(merchant_private_key=key("merchant-private"), gateway_public_key=key("gateway-public"))
MERCHANT_PRIVATE = load_private_key(key("merchant-private"))
MERCHANT = Merchant(
    oid_partner=OID_PARTNER, keys=RING, base_url="http://127.0.0.1:9/", notify_url="https://a.example.com/n"
)
PEN = Pen(key("gateway-private"))
CLOCK = ManualClock(NOW)

ORDER = Order(
    money_order="25.78", card_no="6228480222300000001", acct_name="李三", info_order="测试", memo="工资_十一月",
    no_order=NO_ORDER, dt_order="20261123100000",
)  # fmt: skip
CONTENT = freeze(
    ORDER, oid_partner=OID_PARTNER, no_order=NO_ORDER, dt_order="20261123100000",
    notify_url="https://a.example.com/n",
)  # fmt: skip

_SIGNED = {"oid_partner": OID_PARTNER, "sign_type": "RSA"}
_ANSWER = {**_SIGNED, "ret_code": "0000", "ret_msg": "交易成功", "no_order": NO_ORDER, "oid_paybill": BILL}
_RECORD = {
    "dt_order": CONTENT["dt_order"], "money_order": "25.78", "result_pay": "SUCCESS", "settle_date": "20261123",
    "info_order": "测试",
}  # fmt: skip

GENUINE: Mapping[str, Mapping[str, str]] = {
    "notification": {**_SIGNED, "no_order": NO_ORDER, "oid_paybill": BILL, **_RECORD},
    "pay": {**_ANSWER, "confirm_code": "542312"},
    "confirm": _ANSWER,
    "query": {**_ANSWER, **_RECORD, "memo": "工资_十一月"},
}
"""Of each kind a message with every member that the specification gives it (3.1 to 3.4), not yet signed."""


def read_notification(body: bytes) -> Any:
    """As `LianLianClient.receive` does before it looks at the journal. Raises NotificationRefused."""
    return Receiver(MERCHANT, CLOCK).read(body)


def _answer(kind: Any) -> Callable[[bytes], Any]:
    def read(body: bytes) -> Any:
        return kind.read(open_message(body, RING))

    return read


READERS: Mapping[str, Callable[[bytes], Any]] = {
    "notification": read_notification,
    "pay": _answer(PayAnswer),
    "confirm": _answer(ConfirmAnswer),
    "query": _answer(QueryAnswer),
}
"""How the real code reads each; the answers raise MessageRejected."""
