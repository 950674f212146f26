"""Where notifications may be asked to go (specification 3.1, `notify_url`).

LianLian posts payment results to this address, so a wrong one leaks them, or aims LianLian's servers
at somebody's inner network. The notification is worth nothing without TLS either.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

__all__ = ["NOTIFY_URL_MAX", "notify_url_fault"]

NOTIFY_URL_MAX = 64

# Letters as RFC 3986 allows them, less '&': the signed string could not tell it from its own.
_ALPHABET = re.compile(r"[A-Za-z0-9:/?#\[\]@!$'()*+,;=._~%-]+")
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")

_EXAMPLE = "give an address such as https://pay.example.com/lianlian"


def notify_url_fault(value: str, *, allow_http: bool = False) -> tuple[str, str] | None:
    """What is wrong with `value` as a `notify_url`, and the way out; None when nothing is.

    `https` only; `http` where the host is this machine (a simulator) or `allow_http` says so.
    """
    if len(value) > NOTIFY_URL_MAX:
        return f"has {len(value)} characters", f"shorten it to {NOTIFY_URL_MAX}"
    if not _ALPHABET.fullmatch(value):
        return "holds a character that may not stand in it ('&' included)", _EXAMPLE
    try:
        parts = urlsplit(value)
        port_is_usable = parts.port != 0
    except ValueError:
        return "is not a web address", _EXAMPLE
    if parts.scheme not in {"https", "http"} or not parts.hostname or not port_is_usable:
        return "is not a web address", _EXAMPLE
    if "@" in parts.netloc:
        return "carries a user name or password", "leave the credentials out"
    if "#" in value:
        return "has a fragment, which is never sent", "leave out '#' and what follows"
    return _host_fault(parts, allow_http)


def _host_fault(parts: SplitResult, allow_http: bool) -> tuple[str, str] | None:
    host = (parts.hostname or "").rstrip(".")
    loopback = host == "localhost"
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        # "127.1" and "0x7f000001" are addresses too, to those who resolve them the old way.
        if not _HOST_NAME.fullmatch(host) or re.fullmatch("[0-9]+|0[xX][0-9A-Fa-f]*", host.rpartition(".")[2]):
            return "has no valid host name", _EXAMPLE
    else:
        address = getattr(literal, "ipv4_mapped", None) or literal
        loopback = address.is_loopback
        if not loopback and (not address.is_global or address.is_multicast):
            return "points into a private network, which LianLian cannot reach", "give a public host name"
    if parts.scheme == "http" and not (loopback or allow_http):
        return "is not https, so anyone on the way could read and change notifications", "use https"
    return None
