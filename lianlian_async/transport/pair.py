"""The two transports of a client: one for money, one for queries, so that neither keeps the other waiting."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from . import Transport, default_transport, transport_over
from .trust import gateway_context

__all__ = ["money_and_queries"]


def money_and_queries(
    given: Any, *, in_flight: int, queries_in_flight: int, ca_file: Path | None, pins: Collection[bytes] = ()
) -> tuple[Transport, Transport]:
    """Transports over what a caller has given (a client, a session, a Transport, or a pair of them), or our own.

    The name "aiohttp" makes our own two of that kind. Raises ConfigError for any other name, and
    when there are `pins` and what was given does not let us see that it keeps them.
    """
    if isinstance(given, str):
        make = _named(given)
    elif given is None:
        make = default_transport
    else:
        # Without authorities of its own, a transport takes the context that all share.
        own = None if ca_file is None and not pins else gateway_context(ca_file, pins)
        if isinstance(given, tuple):
            money, queries = given
            return transport_over(money, context=own), transport_over(queries, context=own)
        one = transport_over(given, context=own)
        return one, one
    context = gateway_context(ca_file, pins)
    return (
        make(connections_max=in_flight, context=context),
        make(connections_max=queries_in_flight, context=context),
    )


def _named(name: str) -> Callable[..., Transport]:
    if name != "aiohttp":
        raise ConfigError(f'there is no transport named {name!r}: give "aiohttp", a client, or leave it out for httpx2')
    try:
        from .aiohttp import AiohttpTransport
    except ImportError as missing:
        raise ConfigError(
            f"this transport needs the package {missing.name}: pip install 'lianlian-async[aiohttp]'"
        ) from missing
    return AiohttpTransport
