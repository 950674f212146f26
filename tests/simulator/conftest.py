from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from foreign_merchant import OID_PARTNER, Merchant, make_key, private_pem, public_pem

from lianlian_async.testing import ManualClock, Simulator

Run = Callable[..., AbstractAsyncContextManager[tuple[Simulator, Merchant]]]


@pytest.fixture(scope="session")
def merchant_key() -> rsa.RSAPrivateKey:
    return make_key()


@pytest.fixture(scope="session")
def gateway_key() -> rsa.RSAPrivateKey:
    return make_key()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def build(
    merchant_key: rsa.RSAPrivateKey, gateway_key: rsa.RSAPrivateKey, clock: ManualClock
) -> Callable[..., Simulator]:
    """A simulator on the test's clock; arguments as the class's."""

    def make(**settings: Any) -> Simulator:
        settings.setdefault("clock", clock)
        return Simulator(
            oid_partner=OID_PARTNER,
            merchant_public_key=public_pem(merchant_key),
            gateway_private_key=private_pem(gateway_key),
            **settings,
        )

    return make


@pytest.fixture
def run(build: Callable[..., Simulator], merchant_key: rsa.RSAPrivateKey, gateway_key: rsa.RSAPrivateKey) -> Run:
    """A served simulator and a merchant that talks to it over real HTTP."""

    @asynccontextmanager
    async def start(**settings: Any) -> AsyncIterator[tuple[Simulator, Merchant]]:
        simulator = build(**settings)
        merchant = Merchant(merchant_key, gateway_key)
        async with simulator.serve() as server, aiohttp.ClientSession() as session:
            merchant.base_url, merchant.session = server.base_url, session
            yield simulator, merchant

    return start
