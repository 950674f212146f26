"""The bank lists of the specification's section 9, as data.

`personal` are the banks that personal accounts may be with. `corporate` says which banks need neither
`prcptcd` nor branch data for a corporate payment, and up to which amount: the remark column of that
table has merged cells, so ten banks are free at any amount and sixteen up to 5,000,000.00 yuan.
Any other bank takes corporate payments too, with `prcptcd` or branch data.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from attrs import frozen

from lianlian_async.errors import ConfigError

__all__ = ["NEVER_BRANCH_FREE", "Bank", "Banks", "CorporateBank", "load_banks"]

NEVER_BRANCH_FREE: Final = Decimal("0.00")


@frozen
class Bank:
    """A bank as LianLian codes it. Look banks up by `code`: three names stand for two codes each."""

    code: str
    name: str


@frozen
class CorporateBank(Bank):
    """A bank for corporate payments. `branch_free_up_to` is inclusive, in yuan; None means any amount."""

    short_name: str
    branch_free_up_to: Decimal | None

    def is_branch_free(self, money_order: Decimal) -> bool:
        """True when a corporate payment of `money_order` yuan needs neither `prcptcd` nor branch data."""
        return self.branch_free_up_to is None or money_order <= self.branch_free_up_to


@frozen
class Banks:
    """Both lists, by code."""

    personal: Mapping[str, Bank]
    corporate: Mapping[str, CorporateBank]

    def is_branch_free(self, bank_code: str, money_order: Decimal) -> bool:
        """True when a corporate payment to `bank_code` needs neither `prcptcd` nor branch data."""
        bank = self.corporate.get(bank_code)
        return bank is not None and bank.is_branch_free(money_order)

    def search(self, text: str) -> list[Bank]:
        """The banks whose code begins with `text` or whose name holds it, in the order of their codes."""
        wanted = text.strip().casefold()
        known: dict[str, Bank] = {**self.corporate, **self.personal}
        return [
            bank
            for code, bank in sorted(known.items())
            if wanted and (code.startswith(wanted) or wanted in bank.name.casefold() or wanted in self._short(code))
        ]

    def _short(self, code: str) -> str:
        bank = self.corporate.get(code)
        return bank.short_name.casefold() if bank else ""

    @classmethod
    def from_json(cls, path: str | os.PathLike[str]) -> Banks:
        """A newer list of the vendor's (`instant-pay-support-bank-list.json`).

        Such a list says nothing about branch data: that stays as the specification has it for banks
        still listed, and every other corporate bank needs it. Raises `ConfigError`.
        """
        try:
            rows = json.loads(Path(path).read_text(encoding="utf-8-sig"))
            return cls._from_vendor_rows(rows)
        except OSError as fault:
            raise ConfigError(f"the bank list {path} cannot be read: {fault.strerror}; give a readable file") from None
        except (ValueError, KeyError, TypeError):
            raise ConfigError(
                f"the bank list {path} does not have the vendor's shape: give a JSON list of objects with "
                "bank_code, bank_name, support_enterprise and support_individul"
            ) from None

    @classmethod
    def _from_vendor_rows(cls, rows: Any) -> Banks:
        specified = load_banks().corporate
        personal: dict[str, Bank] = {}
        corporate: dict[str, CorporateBank] = {}
        for row in rows:
            code, name = row["bank_code"], row["bank_name"]
            if not (isinstance(name, str) and re.fullmatch("[0-9]{8}", code)):
                raise ValueError("not a bank")
            if row["support_individul"] == "支持":  # the vendor's spelling
                personal[code] = Bank(code, name)
            if row["support_enterprise"] == "支持":
                known = specified.get(code)
                corporate[code] = CorporateBank(
                    code,
                    name,
                    short_name=known.short_name if known else name,
                    branch_free_up_to=known.branch_free_up_to if known else NEVER_BRANCH_FREE,
                )
        if not personal:
            raise ValueError("no bank")
        return cls(MappingProxyType(personal), MappingProxyType(corporate))


@cache
def load_banks() -> Banks:
    """The lists of specification 1.5 that come with this package."""
    personal = (Bank(**row) for row in _packaged("personal-banks.json"))
    corporate = (_corporate_bank(**row) for row in _packaged("corporate-banks.json"))
    return Banks(
        MappingProxyType({bank.code: bank for bank in personal}),
        MappingProxyType({bank.code: bank for bank in corporate}),
    )


def _packaged(name: str) -> list[dict[str, Any]]:
    text = resources.files(__package__).joinpath("data", name).read_text(encoding="utf-8")
    rows: list[dict[str, Any]] = json.loads(text)["banks"]
    return rows


def _corporate_bank(code: str, name: str, short_name: str, branch_free_up_to: str | None) -> CorporateBank:
    limit = None if branch_free_up_to is None else Decimal(branch_free_up_to)
    return CorporateBank(code, name, short_name, limit)
