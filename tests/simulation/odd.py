"""Answers that hardly ever come: every code at every address, without the members that it should have, and plain lies.

Each row of the library's tables has to be met somewhere: a full run of `dev.py proof` fails where one is not.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
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


# What a confirm gets to see when its answer is spoiled on the way.
_SPOILED: Final = (
    "unsigned",
    "bad_sign",
    "garbage",
    "502_after",
    "503_before",
    "429_before",
    "other_order",
    "9999_after",
)
_RARELY: Final = (
    "no permission", "confirm lies", "no end", "revival", "accepted", "query",
    *("numberless",) * 2, *("spoiled",) * 2, *("confirm",) * 16,
)  # fmt: skip


def rare_scripts(chance: random.Random, numbers: Sequence[str]) -> tuple[dict[str, dict[str, Any]], bool]:
    """What a million payouts hardly ever met by chance alone, for the first of an intent's numbers and for what may
    take its place; and whether the gateway lies about the order's content in it."""
    kind = chance.choice(_RARELY)
    if kind == "revival":
        # The bank fails it, a person replaces it, and then the gateway says something else of the first number while
        # the second is still to be sent again.
        asked = (None,) * chance.choice((2, 3, 4, 6))
        lies = Step(members={"money_order": "1.11"})
        first = {"timeline": (("PROCESSING", 0.0), ("FAILURE", 20.0)), "query": (*asked, lies, ...)}
        return {numbers[0]: first, numbers[1]: {"pay": ("4014",) * 8}}, True
    script, lies_about_it = _rare_script(kind, chance, numbers[0])
    return {numbers[0]: script}, lies_about_it


def _rare_script(kind: str, chance: random.Random, number: str) -> tuple[dict[str, Any], bool]:
    held = {"pay": (chance.choice(_HELD),)}
    # LianLian's own 3001 and 4005 name no order, though the specification's table says that they do.
    named, nameless = {"no_order": number}, {"no_order": None}
    if kind == "no permission":
        return {"pay": (Step(ret_code="4005", booked=False, members=named),)}, False
    if kind == "no end":
        return {"timeline": (("PROCESSING", 0.0), ("SUCCESS", 7.5 * DAY))}, False
    if kind == "numberless":
        return {"pay": (Step(ret_code=chance.choice(_CODES), members=nameless),)}, False
    if kind == "query":
        return {"query": (Step(ret_code=chance.choice(_CODES), members=chance.choice((named, nameless))),) * 3}, False
    if kind == "spoiled":
        return {**held, "confirm": tuple(Step(fault=fault) for fault in chance.sample(_SPOILED, 3))}, False
    if kind == "accepted":
        return {**held, "confirm": (Step(members=nameless),)}, False
    if kind == "confirm":
        odd = (Step(ret_code=chance.choice(_CODES), members=chance.choice((named, nameless))) for _ in range(3))
        return {**held, "confirm": tuple(odd)}, False
    held = {"pay": (Step(ret_code=chance.choice(_HELD), members={"oid_paybill": _BILL}),)}
    return {**held, "confirm": (Step(members={"oid_paybill": _OTHER_BILL}),)}, True


_BILL: Final = "2026010100000001"
_OTHER_BILL: Final = "2026010100000002"
