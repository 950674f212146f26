"""Key pairs for trying things out: files as both sides of the simulator want them."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

__all__ = ["make_keys"]


def make_keys(folder: Path, name: str, bits: int = 2048) -> tuple[Path, Path]:
    """A private key (PKCS#8 PEM, mode 0600) and its public key in `folder`; returns both paths."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    private, public = folder / f"{name}-private.pem", folder / f"{name}-public.pem"
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with os.fdopen(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public
