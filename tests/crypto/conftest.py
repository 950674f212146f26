"""Keys for the crypto tests; 1024 bits where their size is not the point, because they are made faster."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from lianlian_async.crypto import KeyRing


@pytest.fixture(scope="session")
def merchant() -> RSAPrivateKey:
    return rsa.generate_private_key(65537, 1024)


@pytest.fixture(scope="session")
def gateway() -> RSAPrivateKey:
    return rsa.generate_private_key(65537, 1024)


@pytest.fixture(scope="session")
def ring(merchant: RSAPrivateKey, gateway: RSAPrivateKey) -> KeyRing:
    """What a merchant holds."""
    return KeyRing(merchant, gateway.public_key())


@pytest.fixture(scope="session")
def gateway_ring(merchant: RSAPrivateKey, gateway: RSAPrivateKey) -> KeyRing:
    """The mirror image: signs as LianLian does."""
    return KeyRing(gateway, merchant.public_key())


@pytest.fixture(scope="session")
def private_pem(merchant: RSAPrivateKey) -> bytes:
    return merchant.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@pytest.fixture(scope="session")
def public_pem(gateway: RSAPrivateKey) -> bytes:
    return gateway.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
