"""Answers that hardly ever come: every code at every address, without the members that it should have, and plain lies.

Each row of the library's tables has to be met somewhere: a full run of `dev.py proof` fails where one is not.
"""

from __future__ import annotations

import random
from typing import Any, Final

from lianlian_async.protocol.ret_codes import RET_CODES
from lianlian_async.testing.simulator import Step

from .plan import DAY

_CODES: Final = (*(code for code in RET_CODES if code != "0000"), "4103")
_HELD: Final = ("4002", "4003", "4004")
_ODDLY: Final = (
    "pay",
    "pay",
    "confirm",
    "confirm",
    "confirm",
    "query",
    "query",
    "no code",
    "numberless",
    "no result",
    "lie",
)


def odd_script(chance: random.Random) -> tuple[dict[str, Any], bool]:
    """A script, and whether the gateway lies about the order's content in it."""
    kind = chance.choice(_ODDLY)
    code = chance.choice(_CODES)
    nameless = {"no_order": None} if chance.random() < 0.4 else {}
    if kind == "pay":
        return {"pay": (Step(ret_code=code, members=nameless),) * chance.choice((1, 1, 2))}, False
    if kind == "confirm":
        answer = Step(members=nameless) if chance.random() < 0.05 else Step(ret_code=code, members=nameless)
        return {"pay": (chance.choice(_HELD),), "confirm": (answer,)}, False
    if kind == "query":
        return {"query": (Step(ret_code=code, members=nameless),) * chance.choice((1, 3))}, False
    if kind == "no code":
        return {"pay": (Step(ret_code=chance.choice(_HELD), members={"confirm_code": None, **nameless}),)}, False
    if kind == "numberless":
        return {"pay": (Step(members={"no_order": None}),)}, False
    if kind == "no result":
        return {"query": (Step(members=chance.choice(({"result_pay": None}, {"no_order": None}))),) * 3}, False
    where = chance.choice(("pay", "confirm", "query"))
    if where == "query":
        return {"query": (None, Step(members={"money_order": "1.11"}))}, True
    if where == "confirm":
        return {"pay": (chance.choice(_HELD),), "confirm": (Step(members={"oid_paybill": _OTHER_BILL}),)}, True
    return {
        "pay": (Step(ret_code="4014", members={"oid_paybill": _BILL}), Step(members={"oid_paybill": _OTHER_BILL}))
    }, True


_RARELY: Final = ("no permission", "confirm lies", "no end", *("confirm",) * 9)


def rare_script(chance: random.Random, number: str) -> tuple[dict[str, Any], bool]:
    """What a million payouts never met by chance alone; as `odd_script`."""
    kind = chance.choice(_RARELY)
    if kind == "no permission":
        # A genuine 4005 names no order, though the specification's table says that it does.
        return {"pay": (Step(ret_code="4005", booked=False, members={"no_order": number}),)}, False
    if kind == "no end":
        return {"timeline": (("PROCESSING", 0.0), ("SUCCESS", 7.5 * DAY))}, False
    if kind == "confirm":
        nameless = {"no_order": None} if chance.random() < 0.6 else {}
        return {
            "pay": (chance.choice(_HELD),),
            "confirm": tuple(Step(ret_code=chance.choice(_CODES), members=nameless) for _ in range(3)),
        }, False
    held = Step(ret_code=chance.choice(_HELD), members={"oid_paybill": _BILL})
    return {"pay": (held,), "confirm": (Step(members={"oid_paybill": _OTHER_BILL}),)}, True


_BILL: Final = "2026010100000001"
_OTHER_BILL: Final = "2026010100000002"
