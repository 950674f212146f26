"""Who pays, through which gateway, within which limits: frozen values, checked before anything starts.

Three sources, one table. An argument wins over the environment, the environment over the TOML file.

    argument / TOML             environment                       meaning
    ─────────────────────────────────────────────────────────────────────────────────────────────
    oid_partner                 LIANLIAN_OID_PARTNER              the merchant's number (required)
    private_key_file            LIANLIAN_PRIVATE_KEY_FILE         the merchant's private key (required)
    gateway_public_key_file     LIANLIAN_GATEWAY_PUBLIC_KEY_FILE  LianLian's public key (required)
    base_url                    LIANLIAN_BASE_URL                 the gateway's address
    notify_url                  LIANLIAN_NOTIFY_URL               where notifications shall go
    journal                     LIANLIAN_JOURNAL                  sqlite:///payouts.db, or memory:
    journal_key_file            LIANLIAN_JOURNAL_KEY_FILE         what encrypts the journal, optional
    platform                    LIANLIAN_PLATFORM                 the wire's `platform`, optional
    ca_file                     LIANLIAN_CA_FILE                  further certificate authorities, optional
    two_person                  LIANLIAN_TWO_PERSON               true: two people must approve, always
    gateway_pins                LIANLIAN_GATEWAY_PINS             the TLS keys that the gateway may have, optional
    sftp_host                   LIANLIAN_SFTP_HOST                LianLian's SFTP server, for statements
    sftp_port                   LIANLIAN_SFTP_PORT                its port (22)
    sftp_user                   LIANLIAN_SFTP_USER                the user there
    sftp_host_key               LIANLIAN_SFTP_HOST_KEY            the server's key line, or SHA256:... (required)
    sftp_key_file               LIANLIAN_SFTP_KEY_FILE            the user's SSH private key, or
    sftp_password_file          LIANLIAN_SFTP_PASSWORD_FILE       a file with the user's password
    sftp_root                   LIANLIAN_SFTP_ROOT                the folder there (/<oid_partner>)
    sftp_folder                 LIANLIAN_SFTP_FOLDER              the folder here for what was fetched

`two_person` is the exception: what one source makes stricter no other loosens, nor does any option or argument later.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import evolve, field, fields, frozen

from .crypto import JournalKeys, KeyRing
from .errors import ConfigError
from .journal import Journal
from .journal.urls import open_journal
from .protocol.fields import field_fault, is_text
from .protocol.notify_url import notify_url_fault
from .transport import check_address, is_loopback
from .transport.trust import parse_pins

__all__ = ["PRODUCTION_URL", "Limits", "Merchant", "Settings", "Timeouts"]

# Specification 3.1 to 3.3: all three calls live below this address.
PRODUCTION_URL: Final = "https://instantpay.lianlianpay.com/paymentapi/"
_LIANLIAN_DOMAINS: Final = ("lianlianpay.com", "lianlianpay-inc.com", "yintong.com.cn")


def _within(maximum: float, *kinds: type) -> Any:
    """A validator: a number above zero and up to `maximum`, of one of these kinds."""

    def check(_: Any, attribute: Any, value: Any) -> None:
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or not isinstance(value, kinds)
            or not 0 < value <= maximum
        ):
            raise ConfigError(f"{attribute.name} must be a number above 0 and up to {maximum:g}, not {value!r}")

    return check


@frozen
class Timeouts:
    """Total deadlines in seconds, each from queueing to the last byte of the answer."""

    pay_s: float = field(default=30.0, validator=_within(300, int, float))
    query_s: float = field(default=20.0, validator=_within(300, int, float))


@frozen
class Limits:
    """How much may happen at once. Waiting costs nothing while it waits."""

    in_flight: int = field(default=64, validator=_within(4096, int))  # pay and confirm calls
    queries_in_flight: int = field(default=32, validator=_within(4096, int))
    queries_per_s: float = field(default=50.0, validator=_within(10_000, int, float))


def _gateway_address(url: str) -> str:
    """Refuse an address that is neither LianLian's nor this machine: orders hold card numbers and names."""
    url = url if url.endswith("/") else f"{url}/"
    check_address(url)
    if urlsplit(url).query:
        raise ConfigError("base_url must not hold a query: the calls' own paths go behind it")
    host = (urlsplit(url).hostname or "").rstrip(".")
    if not is_loopback(host) and not any(host == domain or host.endswith(f".{domain}") for domain in _LIANLIAN_DOMAINS):
        raise ConfigError(
            f"base_url: {host} is neither a host of LianLian ({', '.join(_LIANLIAN_DOMAINS)}) nor this machine; "
            f"leave it out to use {PRODUCTION_URL}"
        )
    return url


def _checked_notify_url(url: str | None) -> str | None:
    fault = notify_url_fault(url) if url else None
    if fault:
        raise ConfigError(f"notify_url {fault[0]}; {fault[1]} (specification 3.1)")
    return url or None


def _sendable(name: str, value: str | None) -> str | None:
    """`value` if every request may carry it as `name`; raises ConfigError."""
    fault = None if value is None else field_fault(name, value)
    if fault is not None:
        raise ConfigError(f"{name} {fault[0]}; {fault[1]} (specification 3.1)")
    return value


def _partner(value: str) -> str:
    return _sendable("oid_partner", value) or ""


def _platform(value: str | None) -> str | None:
    return _sendable("platform", value or None)


def _policy(value: bool | str | None) -> bool:
    """True or false, also as text; raises ConfigError for anything else: a slip must not switch a policy off."""
    said = value.strip().lower() if isinstance(value, str) else value
    if said in (True, "true", "yes", "on", "1"):
        return True
    if said in (False, None, "", "false", "no", "off", "0"):
        return False
    raise ConfigError(f"two_person must be true or false, not {value!r}")


def _pins(value: str | frozenset[bytes] | None) -> frozenset[bytes]:
    return parse_pins(value) if isinstance(value, str) and value else frozenset(value or ())


@frozen(kw_only=True)
class Merchant:
    """One merchant at one gateway, with its keys loaded.

    With `two_person` every approval of a held payout takes two different people, whoever asks and however.
    `gateway_pins` (`sha256//BASE64`, several with `;` between them) names the TLS keys that an https gateway may have.
    """

    oid_partner: str = field(converter=_partner)
    keys: KeyRing
    base_url: str = field(default=PRODUCTION_URL, converter=_gateway_address)
    notify_url: str | None = field(default=None, converter=_checked_notify_url)
    platform: str | None = field(default=None, converter=_platform)
    ca_file: Path | None = None
    two_person: bool = field(default=False, converter=_policy)
    gateway_pins: frozenset[bytes] = field(default=frozenset(), converter=_pins)

    def __attrs_post_init__(self) -> None:
        if self.notify_url and (fault := self.notify_url_fault(self.notify_url)):
            raise ConfigError(f"notify_url {fault[0]}; {fault[1]} (specification 3.1)")

    def notify_url_fault(self, url: str) -> tuple[str, str] | None:
        """What is wrong with `url` as where this merchant's gateway shall post to, and the way out; None: nothing.

        This machine is for a gateway on this machine: LianLian would post what was paid to one of its own.
        """
        fault = notify_url_fault(url)
        if fault is None and not self.on_this_machine and is_loopback((urlsplit(url).hostname or "").rstrip(".")):
            return "is this machine, which LianLian cannot reach", "give a public host name"
        return fault

    @property
    def on_this_machine(self) -> bool:
        """True when the gateway is on loopback, and therefore no real one."""
        return is_loopback((urlsplit(self.base_url).hostname or "").rstrip("."))


_REQUIRED: Final = {
    "oid_partner": "the merchant's number",
    "private_key_file": "the file with the merchant's private key",
    "gateway_public_key_file": "the file with LianLian's public key",
}


@frozen(kw_only=True)
class Settings:
    """What was configured, before keys are loaded; see the table at the top of this module."""

    oid_partner: str | None = None
    private_key_file: str | None = None
    gateway_public_key_file: str | None = None
    base_url: str | None = None
    notify_url: str | None = None
    journal: str | None = None
    journal_key_file: str | None = None
    platform: str | None = None
    ca_file: str | None = None
    two_person: bool = field(default=False, converter=_policy)
    gateway_pins: str | None = None
    sftp_host: str | None = None
    sftp_port: str | None = None
    sftp_user: str | None = None
    sftp_host_key: str | None = None
    sftp_key_file: str | None = None
    sftp_password_file: str | None = None
    sftp_root: str | None = None
    sftp_folder: str | None = None

    @classmethod
    def load(
        cls, config: Path | None = None, *, environ: Mapping[str, str] = os.environ, **arguments: str | bool | None
    ) -> Settings:
        """Read the TOML file, the environment and the arguments, in rising rank; raises ConfigError.

        Only `two_person` has no rank: it holds when any of them says so.
        """
        settings = cls(**_from_file(config)) if config else cls()
        told = {
            name: environ[f"LIANLIAN_{name.upper()}"] for name in _names() if environ.get(f"LIANLIAN_{name.upper()}")
        }
        for name, value in told.items():
            if not is_text(value):
                raise ConfigError(f"LIANLIAN_{name.upper()} holds bytes that are no text: write it in UTF-8")
        two_person = settings.two_person or _policy(told.get("two_person")) or _policy(arguments.get("two_person"))
        values: dict[str, Any] = {**told, **{name: value for name, value in arguments.items() if value}}
        return evolve(settings, **{**values, "two_person": two_person})

    def journal_address(self) -> str:
        """Where the journal lies; raises ConfigError, as there is no silent default for what must never be lost."""
        if not self.journal:
            raise ConfigError("no journal is configured: set LIANLIAN_JOURNAL, such as sqlite:///payouts.db")
        return self.journal

    def configured_journal(self) -> Journal:
        """The journal with its keys, not yet opened, as `LianLianClient` takes it; raises ConfigError."""
        return open_journal(self.journal_address(), keys=self.journal_keys())

    def journal_keys(self) -> JournalKeys | None:
        """The keys of the journal, if it is to be encrypted; raises ConfigError."""
        return JournalKeys.load(self.journal_key_file) if self.journal_key_file else None

    def merchant(self) -> Merchant:
        """Load the keys and check everything that can be checked without sending; raises ConfigError."""
        for name, meaning in _REQUIRED.items():
            if not getattr(self, name):
                raise ConfigError(
                    f"{name} is missing ({meaning}): set LIANLIAN_{name.upper()}, or give it in --config FILE"
                )
        keys = KeyRing.load(
            merchant_private_key=Path(self.private_key_file or ""),
            gateway_public_key=Path(self.gateway_public_key_file or ""),
        )
        return Merchant(
            oid_partner=self.oid_partner or "",
            keys=keys,
            base_url=self.base_url or PRODUCTION_URL,
            notify_url=self.notify_url,
            platform=self.platform,
            ca_file=Path(self.ca_file) if self.ca_file else None,
            two_person=self.two_person,
            gateway_pins=self.gateway_pins,
        )


def _names() -> tuple[str, ...]:
    return tuple(attribute.name for attribute in fields(Settings))


def _from_file(path: Path) -> dict[str, Any]:
    try:
        data = tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"the configuration file {path} cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the configuration file {path} is not TOML in UTF-8 ({error})") from error
    for name, value in data.items():
        if name not in _names():
            raise ConfigError(f"{path}: {name} is not a setting; the settings are {', '.join(_names())}")
        if not isinstance(value, str) and not (name == "two_person" and isinstance(value, bool)):
            raise ConfigError(f'{path}: {name} must be text in quotes, such as {name} = "..."')
    return data
