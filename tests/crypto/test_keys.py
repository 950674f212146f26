"""Loading keys: what is taken, what is refused with which sentence, and that no key ever shows."""

from __future__ import annotations

import base64
import copy
import os
import pickle
import shutil
import subprocess
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from lianlian_async.crypto import KeyRing, keys, load_private_key, load_public_key
from lianlian_async.errors import ConfigError, MessageRejected, Rejection

PEM, DER = ser.Encoding.PEM, ser.Encoding.DER
PKCS1, PKCS8 = ser.PrivateFormat.TraditionalOpenSSL, ser.PrivateFormat.PKCS8
SPKI = ser.PublicFormat.SubjectPublicKeyInfo


def private(key: RSAPrivateKey | ec.EllipticCurvePrivateKey, encoding=PEM, form=PKCS8, password: bytes | None = None):
    lock = ser.BestAvailableEncryption(password) if password else ser.NoEncryption()
    return key.private_bytes(encoding, form, lock)


def public(key: RSAPrivateKey | ec.EllipticCurvePrivateKey, encoding=PEM, form=SPKI):
    return key.public_key().public_bytes(encoding, form)


def key_file(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("form", [PKCS8, PKCS1], ids=["pkcs8", "pkcs1"])
@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param(lambda key, form: private(key, PEM, form), id="pem"),
        pytest.param(lambda key, form: b"\xef\xbb\xbf\r\n" + private(key, PEM, form), id="pem-from-windows"),
        pytest.param(lambda key, form: private(key, DER, form), id="der"),
        pytest.param(lambda key, form: base64.b64encode(private(key, DER, form)), id="bare-base64"),
        pytest.param(lambda key, form: base64.encodebytes(private(key, DER, form)), id="wrapped-base64"),
    ],
)
def test_private_key_in_every_form(wrap: Callable[..., bytes], form: ser.PrivateFormat, merchant: RSAPrivateKey):
    """PEM, DER and bare base64 of PKCS#8 and PKCS#1 give the same key."""
    assert load_private_key(wrap(merchant, form)).private_numbers() == merchant.private_numbers()


@pytest.mark.parametrize("form", [SPKI, ser.PublicFormat.PKCS1], ids=["spki", "pkcs1"])
@pytest.mark.parametrize("encode", [PEM, DER, None], ids=["pem", "der", "bare-base64"])
def test_public_key_in_every_form(form: ser.PublicFormat, encode: ser.Encoding | None, gateway: RSAPrivateKey):
    """PEM, DER and bare base64 of SubjectPublicKeyInfo and PKCS#1 give the same key."""
    content = public(gateway, encode or DER, form)
    content = content if encode else base64.b64encode(content)
    assert load_public_key(content).public_numbers() == gateway.public_key().public_numbers()


def test_keys_from_files(tmp_path: Path, private_pem: bytes, public_pem: bytes):
    """Paths are taken as str and as Path, through a symbolic link too."""
    key_file(tmp_path / "real.pem", private_pem)
    (tmp_path / "link.pem").symlink_to("real.pem")
    gateway_file = key_file(tmp_path / "gateway.pem", public_pem, 0o644)
    ring = KeyRing.load(merchant_private_key=str(tmp_path / "link.pem"), gateway_public_key=gateway_file)
    assert ring.sign(b"x") == KeyRing.load(merchant_private_key=private_pem, gateway_public_key=public_pem).sign(b"x")


def test_key_file_behind_a_link_is_open_to_others(tmp_path: Path, private_pem: bytes):
    """What counts is the file, not the link; the sentence says what to run."""
    real = key_file(tmp_path / "real.pem", private_pem, 0o640)
    (tmp_path / "link.pem").symlink_to("real.pem")
    with pytest.raises(ConfigError, match=rf"mode 0640\); run: chmod 600 {real.resolve()}"):
        load_private_key(tmp_path / "link.pem")


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o602, 0o620, 0o601, 0o610, 0o644, 0o666, 0o777])
def test_key_file_is_open_to_others(tmp_path: Path, private_pem: bytes, mode: int):
    """Any right of group or others refuses a private key."""
    with pytest.raises(ConfigError, match="chmod 600"):
        load_private_key(key_file(tmp_path / "key.pem", private_pem, mode))


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o700])
def test_key_file_is_ours_alone(tmp_path: Path, private_pem: bytes, mode: int):
    """A file that only its owner can use is taken."""
    assert load_private_key(key_file(tmp_path / "key.pem", private_pem, mode)).key_size == 1024


def test_key_file_of_another_user(tmp_path: Path, private_pem: bytes, monkeypatch: pytest.MonkeyPatch):
    """A private key that somebody else owns is refused: its owner could change or read it."""
    path = key_file(tmp_path / "key.pem", private_pem)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(ConfigError, match=f"belongs to another user; run: chown {os.getuid() + 1} "):
        load_private_key(path)


def test_public_key_file_that_anybody_can_change(tmp_path: Path, public_pem: bytes):
    """Whoever may replace LianLian's key may forge its answers."""
    with pytest.raises(ConfigError, match="chmod o-w"):
        load_public_key(key_file(tmp_path / "gateway.pem", public_pem, 0o666))


def test_key_file_that_is_not_there(tmp_path: Path):
    """The sentence names the path and the reason."""
    with pytest.raises(ConfigError, match=r"nowhere.pem cannot be opened \(No such file or directory\)"):
        KeyRing.load(merchant_private_key=tmp_path / "nowhere.pem", gateway_public_key=b"")


@pytest.mark.parametrize("path", ["bad\0name", "loop"])
def test_key_path_that_cannot_be_followed(tmp_path: Path, path: str):
    """A path with NUL or a circle of links is refused like a missing one."""
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(ConfigError, match="cannot be opened"):
        load_private_key(f"{tmp_path}/{path}")


def test_key_path_that_is_no_file(tmp_path: Path):
    """Directories and pipes are refused at once; opening a pipe does not wait."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("pipe", "."):
        with pytest.raises(ConfigError, match="is not a regular file"):
            load_private_key(tmp_path / name)


def test_key_file_that_is_huge(tmp_path: Path):
    """It is not read."""
    with pytest.raises(ConfigError, match="far too large"):
        load_private_key(key_file(tmp_path / "key.pem", b"x" * 70_000))


def test_key_content_given_as_str(private_pem: bytes, merchant: RSAPrivateKey):
    """A str is a path; a key in its place is recognised, and not repeated in the message."""
    bare = base64.b64encode(private(merchant, DER)).decode()
    for text in (private_pem.decode(), bare):
        with pytest.raises(ConfigError, match="give the path, or the key as bytes") as refused:
            KeyRing.load(merchant_private_key=text, gateway_public_key=b"")
        assert "MII" not in str(refused.value)


class TestWrongKeys:
    def test_public_key_where_the_private_one_belongs(self, public_pem: bytes):
        """It is recognised."""
        with pytest.raises(ConfigError, match="merchant_private_key is a public key; the private key belongs here"):
            KeyRing.load(merchant_private_key=public_pem, gateway_public_key=public_pem)

    @pytest.mark.parametrize("password", [None, b"secret"])
    def test_private_key_where_the_public_one_belongs(self, merchant: RSAPrivateKey, password: bytes | None):
        """It is recognised, encrypted or not, and called compromised."""
        with pytest.raises(ConfigError, match=r"gateway_public_key is a private key; .*should now be replaced"):
            KeyRing.load(
                merchant_private_key=private(merchant),
                gateway_public_key=private(merchant, password=password),
            )

    def test_own_public_key_as_the_gateways(self, merchant: RSAPrivateKey, private_pem: bytes):
        """The commonest mix-up of all is named."""
        with pytest.raises(ConfigError, match="is the merchant's own public key; give LianLian's"):
            KeyRing.load(merchant_private_key=private_pem, gateway_public_key=public(merchant))

    def test_key_that_is_not_rsa(self, private_pem: bytes):
        """Elliptic curve keys are refused on both sides."""
        curve = ec.generate_private_key(ec.SECP256R1())
        with pytest.raises(ConfigError, match="not an RSA key"):
            load_private_key(private(curve))
        with pytest.raises(ConfigError, match="not an RSA key"):
            load_public_key(public(curve))

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            (b"", "is not a readable key"),
            (b"\x00\x01", "is not a readable key"),
            (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "is not a readable key"),
            (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "is a certificate"),
            (b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n", "is an SSH key"),
        ],
    )
    def test_content_that_is_no_key(self, content: bytes, sentence: str):
        """Each says what it is, or which forms are taken."""
        for load in (load_private_key, load_public_key):
            with pytest.raises(ConfigError, match=sentence):
                load(content)

    @pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make such a key")
    @pytest.mark.tells  # openssl says the key it made
    def test_key_that_is_too_short(self):
        """512 bits are refused, with the number of bits."""
        made = subprocess.run(["openssl", "genrsa", "512"], check=True, capture_output=True)
        with pytest.raises(ConfigError, match="has 512 bits; give a key of 1024 to 4096 bits"):
            load_private_key(made.stdout)

    def test_key_that_is_too_long(self, monkeypatch: pytest.MonkeyPatch, merchant: RSAPrivateKey):
        """Above the bound a key is refused on both sides (the bound is lowered, long keys are slow to make)."""
        monkeypatch.setattr(keys, "KEY_BITS_MAX", 1023)
        with pytest.raises(ConfigError, match="has 1024 bits"):
            load_private_key(private(merchant))
        with pytest.raises(ConfigError, match="has 1024 bits"):
            load_public_key(public(merchant))

    def test_algorithm_that_openssl_does_not_offer(self, monkeypatch: pytest.MonkeyPatch, private_pem: bytes):
        """The sentence says so instead of calling the key unreadable."""

        def refuse(*_: object) -> None:
            raise UnsupportedAlgorithm("no")

        monkeypatch.setattr(keys, "load_pem_private_key", refuse)
        with pytest.raises(ConfigError, match="an algorithm this machine's OpenSSL does not offer"):
            load_private_key(private_pem)


class TestPasswords:
    @pytest.mark.parametrize("password", [b"secret", lambda: b"secret"], ids=["bytes", "callable"])
    @pytest.mark.parametrize("form", [PKCS8, PKCS1], ids=["pkcs8", "pkcs1"])
    def test_right_password(self, merchant: RSAPrivateKey, password: keys.Password, form: ser.PrivateFormat):
        """An encrypted key opens with it."""
        encrypted = private(merchant, form=form, password=b"secret")
        assert load_private_key(encrypted, password).private_numbers() == merchant.private_numbers()

    def test_wrong_password(self, merchant: RSAPrivateKey):
        """The sentence names the password, and does not repeat it."""
        with pytest.raises(ConfigError, match="does not open with this password") as refused:
            load_private_key(private(merchant, password=b"secret"), b"guess-4711")
        assert "4711" not in str(refused.value)

    def test_no_password(self, merchant: RSAPrivateKey):
        """The sentence asks for it, and says what to do where nobody can be asked."""
        with pytest.raises(ConfigError, match=r"private_key is encrypted; give its password .*openssl pkey"):
            load_private_key(private(merchant, password=b"secret"))

    def test_password_for_a_key_that_is_open(self, private_pem: bytes, public_pem: bytes):
        """The key is taken, its owner is warned, and a callable is never asked."""
        ring = KeyRing.load(
            merchant_private_key=private_pem,
            gateway_public_key=public_pem,
            password=lambda: pytest.fail("asked without need"),
        )
        assert "merchant_private_key is not encrypted, though a password was given" in ring.warnings


class TestSelfTest:
    def test_openssl_that_refuses_md5(self, monkeypatch: pytest.MonkeyPatch, private_pem: bytes, public_pem: bytes):
        """Under FIPS rules loading fails, and says why, before any payout is tried."""

        class Crippled:
            key_size = 1024

            def __init__(self, key: RSAPrivateKey) -> None:
                self.public_key = key.public_key

            def sign(self, *_: object) -> bytes:
                raise UnsupportedAlgorithm("md5 is not supported by this backend")

        with pytest.raises(ConfigError, match=r"refuses MD5 .* FIPS mode"):
            KeyRing(Crippled(load_private_key(private_pem)), load_public_key(public_pem))


def test_short_keys_are_taken_with_a_warning(ring: KeyRing):
    """1024 bits still work; both owners of such a key are named."""
    merchants, gateways = ring.warnings
    assert "the merchant's key has only 1024 bits" in merchants
    assert "LianLian's key has only 1024 bits" in gateways


def test_long_keys_give_no_warning():
    """2048 bits are as they should be."""
    merchant, gateway = (rsa.generate_private_key(65537, 2048) for _ in range(2))
    assert KeyRing(merchant, gateway.public_key()).warnings == ()


def test_what_the_portal_wants(ring: KeyRing, merchant: RSAPrivateKey, gateway: RSAPrivateKey):
    """The public half as PEM and as one line of base64, and fingerprints that tell the keys apart."""
    assert load_public_key(ring.merchant_public_key_pem.encode()) == merchant.public_key()
    assert base64.b64decode(ring.merchant_public_key_base64, validate=True) == public(merchant, DER)
    assert ring.fingerprint.startswith("sha256:")
    assert ring.fingerprint != ring.gateway_fingerprint
    assert KeyRing(gateway, merchant.public_key()).fingerprint == ring.gateway_fingerprint


@pytest.mark.parametrize("sign", ["", "!", "AAAA", "签名", "A" * 172])
def test_sign_that_is_nonsense(ring: KeyRing, sign: str):
    """Whatever is not a signature is a bad one."""
    with pytest.raises(MessageRejected) as rejected:
        ring.verify(b"text", sign)
    assert rejected.value.reason is Rejection.BAD_SIGNATURE


def frames_of_the_library(fault: BaseException | None) -> Iterator[str]:
    """The local variables of every frame of this library that `fault`, or what it came from, passed through."""
    while fault is not None:
        for frame, _ in traceback.walk_tb(fault.__traceback__):
            if frame.f_code.co_filename == keys.__file__:
                yield repr(frame.f_locals)
        fault = fault.__context__


class TestSecrecy:
    def test_repr(self, ring: KeyRing):
        """It shows sizes and fingerprints, no more."""
        assert (
            repr(ring) == f"<KeyRing merchant 1024 bit {ring.fingerprint}, gateway 1024 bit {ring.gateway_fingerprint}>"
        )

    @pytest.mark.parametrize("travel", [pickle.dumps, copy.copy, copy.deepcopy])
    def test_pickle_and_copy(self, ring: KeyRing, travel: Callable[[KeyRing], object]):
        """A key ring stays where it was loaded."""
        with pytest.raises(TypeError, match="cannot be copied or pickled"):
            travel(ring)

    def test_no_attributes_to_list(self, ring: KeyRing):
        """`vars` finds nothing."""
        assert not hasattr(ring, "__dict__")

    @pytest.mark.parametrize("fault", ["gateway key is missing", "wrong password", "key as path", "key is refused"])
    def test_traceback_with_local_variables(
        self, tmp_path: Path, merchant: RSAPrivateKey, private_pem: bytes, public_pem: bytes, fault: str
    ):
        """A crash reporter that prints every local variable of this library finds no key and no password."""
        canary = b"hunter2-canary"
        sources = {
            "gateway key is missing": (private_pem, tmp_path / "nowhere", None),
            "wrong password": (private(merchant, password=b"right"), public_pem, canary),
            "key as path": (private_pem.decode(), public_pem, None),
            "key is refused": (private_pem, public(merchant), canary),
        }[fault]
        with pytest.raises(ConfigError) as refused:
            KeyRing.load(merchant_private_key=sources[0], gateway_public_key=sources[1], password=sources[2])
        shown = "".join(frames_of_the_library(refused.value))
        secrets = [line[:40] for line in private_pem.decode().splitlines() if "-----" not in line]
        assert "self" in shown or "source" in shown
        assert not [secret for secret in (canary.decode(), *secrets) if secret in shown]
