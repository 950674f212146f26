"""The demo's batch: personal and corporate payouts with Chinese names, drawn from a seed."""

from __future__ import annotations

import csv
import random
from pathlib import Path

__all__ = ["write_demo_batch"]

_SURNAMES = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林罗高"
_GIVEN = (
    "伟",
    "芳",
    "秀英",
    "敏",
    "静",
    "丽",
    "强",
    "磊",
    "洋",
    "艳",
    "勇",
    "军",
    "杰",
    "娟",
    "涛",
    "明",
    "超",
    "兰",
    "霞",
    "平",
)
_CITIES = (("北京", "110000"), ("上海", "310000"), ("杭州", "330100"), ("广州", "440100"), ("成都", "510100"))
_TRADES = ("科技", "贸易", "物流", "餐饮", "文化")
_BANKS = ("01020000", "01030000", "01040000", "01050000", "03080000")
_COLUMNS = (
    "key", "money_order", "card_no", "acct_name", "flag_card", "info_order", "memo", "bank_code", "prcptcd",
    "city_code", "brabank_name",
)  # fmt: skip


def write_demo_batch(path: Path, count: int, seed: int) -> None:
    """Write `count` payouts to a CSV file: every eighth to a company, every fortieth above 50,000 yuan."""
    draw = random.Random(seed)  # noqa: S311 - demonstration data, not a secret
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS)
        writer.writeheader()
        for number in range(1, count + 1):
            row = _company(draw, number) if number % 8 == 0 else _person(draw, number)
            writer.writerow({"key": f"demo-{seed}/{number:05d}", "info_order": f"演示付款{number:05d}", **row})


def _amount(draw: random.Random, number: int) -> str:
    fen = draw.randrange(5_000_000, 9_000_000) if number % 40 == 0 else draw.randrange(100, 300_000)
    # The last digits follow the row, so that no two rows pay the same amount to the same account.
    return f"{fen // 100}.{number % 100:02d}"


def _person(draw: random.Random, number: int) -> dict[str, str]:
    return {
        "money_order": _amount(draw, number),
        "card_no": f"6228480{number:05d}{draw.randrange(10**6):06d}{number % 9 + 1}",
        "acct_name": draw.choice(_SURNAMES) + draw.choice(_GIVEN),
        "flag_card": "0",
        "memo": "演示",
    }


def _company(draw: random.Random, number: int) -> dict[str, str]:
    city, code = draw.choice(_CITIES)
    return {
        "money_order": _amount(draw, number),
        "card_no": f"1202{number:05d}{draw.randrange(10**7):07d}{number % 9 + 1}",
        "acct_name": f"{city}{draw.choice(_SURNAMES)}氏{draw.choice(_TRADES)}有限公司",
        "flag_card": "1",
        "memo": "演示货款",
        "bank_code": draw.choice(_BANKS),
        **({"city_code": code, "brabank_name": f"{city}分行营业部"} if draw.random() < 0.5 else {}),
    }
