"""Settings, merchant, limits: which source wins, and what each wrong value is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from client_world import NOTIFY_URL, OID_PARTNER, Keys, an_order

from lianlian_async import (
    ConfigError,
    InvalidOrder,
    KeyRing,
    LianLianClient,
    Limits,
    Merchant,
    Settings,
    SystemClock,
    Timeouts,
)
from lianlian_async.config import PRODUCTION_URL
from lianlian_async.errors import LianLianError
from lianlian_async.intake import intent_of


def a_merchant(ring: KeyRing, **changes: Any) -> Merchant:
    return Merchant(**{"oid_partner": OID_PARTNER, "keys": ring, "notify_url": NOTIFY_URL, **changes})


def written(folder: Path, text: str) -> Path:
    path = folder / "lianlian.toml"
    path.write_text(text, "utf-8")
    return path


def test_arguments_win_over_environment_and_file(tmp_path: Path) -> None:
    """Each setting comes from the highest source that names it; empty ones do not count."""
    config = written(tmp_path, 'oid_partner = "1"\njournal = "file"\nplatform = "file"\nnotify_url = "file"\n')
    environ = {
        "LIANLIAN_JOURNAL": "environment",
        "LIANLIAN_PLATFORM": "environment",
        "LIANLIAN_NOTIFY_URL": "",
        "OTHER": "x",
    }
    settings = Settings.load(config, environ=environ, platform="argument", oid_partner=None, base_url="")
    assert settings == Settings(oid_partner="1", journal="environment", platform="argument", notify_url="file")
    assert Settings.load(environ={}) == Settings()


@pytest.mark.parametrize(
    "name",
    [
        "oid_partner",
        "private_key_file",
        "gateway_public_key_file",
        "base_url",
        "notify_url",
        "journal",
        "journal_key_file",
        "platform",
        "ca_file",
    ],
)
def test_every_setting_from_every_source(tmp_path: Path, name: str) -> None:
    """The documented names, in all three spellings."""
    wanted = Settings(**{name: "value"})
    assert Settings.load(written(tmp_path, f'{name} = "value"'), environ={}) == wanted
    assert Settings.load(environ={f"LIANLIAN_{name.upper()}": "value"}) == wanted
    assert Settings.load(environ={}, **{name: "value"}) == wanted


@pytest.mark.parametrize("yes", ["true", "True", "yes", "on", "1", " true "])
@pytest.mark.parametrize("no", ["", "false", "No", "off", "0"])
def test_two_people_is_a_policy(tmp_path: Path, yes: str, no: str) -> None:
    """Whichever source asks for it, no other takes it back; and nobody has it who did not ask."""
    off = written(tmp_path, f'two_person = "{no}"')
    assert not Settings.load(off, environ={"LIANLIAN_TWO_PERSON": no}, two_person=no).two_person
    assert Settings.load(off, environ={"LIANLIAN_TWO_PERSON": no}, two_person=yes).two_person
    assert Settings.load(off, environ={"LIANLIAN_TWO_PERSON": yes}, two_person=no).two_person
    on = written(tmp_path, f'two_person = "{yes}"')
    assert Settings.load(on, environ={"LIANLIAN_TWO_PERSON": no}, two_person=False).two_person


def test_two_people_as_toml_says_it(tmp_path: Path) -> None:
    """A bare true or false, without quotes."""
    assert Settings.load(written(tmp_path, "two_person = true"), environ={}).two_person
    assert not Settings.load(written(tmp_path, "two_person = false"), environ={}).two_person


@pytest.mark.parametrize("slip", ["ture", "2", "both", "none"])
def test_a_slip_switches_no_policy_off(tmp_path: Path, slip: str) -> None:
    """What is neither true nor false is refused wherever it stands, also beside a source that says it well."""
    for load in (
        lambda: Settings.load(written(tmp_path, f'two_person = "{slip}"'), environ={}),
        lambda: Settings.load(environ={"LIANLIAN_TWO_PERSON": slip}),
        lambda: Settings.load(environ={}, two_person=slip),
        lambda: Settings.load(written(tmp_path, "two_person = 1"), environ={}),
    ):
        with pytest.raises(ConfigError, match="two_person must be"):
            load()


def test_the_merchant_carries_the_policy(keys: Keys) -> None:
    """From the settings to the merchant, and so to every client that is made of it."""
    given = {
        "oid_partner": OID_PARTNER,
        "private_key_file": str(keys.folder / "merchant-private.pem"),
        "gateway_public_key_file": str(keys.folder / "gateway-public.pem"),
    }
    assert not Settings(**given).merchant().two_person
    merchant = Settings(**given, two_person=True).merchant()
    assert merchant.two_person
    assert LianLianClient(merchant, "memory:").two_person
    assert LianLianClient(merchant, "memory:", two_person=False).two_person


def test_a_journal_has_no_default() -> None:
    """What must never be lost lies where somebody said, or nothing starts."""
    assert Settings(journal="sqlite:///payouts.db").journal_address() == "sqlite:///payouts.db"
    with pytest.raises(ConfigError, match="LIANLIAN_JOURNAL"):
        Settings().journal_address()


def test_a_file_from_windows(tmp_path: Path) -> None:
    """A byte order mark is no mistake."""
    path = tmp_path / "with-bom.toml"
    path.write_bytes(b'\xef\xbb\xbfoid_partner = "1"\r\n')
    assert Settings.load(path, environ={}).oid_partner == "1"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("oid_partner = 201606020000150062", r"oid_partner must be text in quotes"),
        ('oid_partnr = "1"', r"oid_partnr is not a setting; the settings are oid_partner"),
        ("oid_partner: 1", r"is not TOML in UTF-8"),
        ('[lianlian]\noid_partner = "1"', r"lianlian is not a setting"),
    ],
)
def test_a_file_that_is_wrong(tmp_path: Path, text: str, says: str) -> None:
    """ConfigError names the file and what to write instead."""
    with pytest.raises(ConfigError, match=says) as caught:
        Settings.load(written(tmp_path, text), environ={})
    assert "lianlian.toml" in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """Missing, a folder, or not UTF-8: one sentence, no traceback of somebody else's."""
    with pytest.raises(ConfigError, match="cannot be read \\(No such file"):
        Settings.load(tmp_path / "missing.toml", environ={})
    with pytest.raises(ConfigError, match="cannot be read"):
        Settings.load(tmp_path, environ={})
    (tmp_path / "gbk.toml").write_bytes('platform = "李三"'.encode("gbk"))
    with pytest.raises(ConfigError, match="not TOML in UTF-8"):
        Settings.load(tmp_path / "gbk.toml", environ={})


@pytest.mark.parametrize("missing", ["oid_partner", "private_key_file", "gateway_public_key_file"])
def test_what_must_be_there(keys: Keys, missing: str) -> None:
    """The sentence names the setting, its meaning, and the environment variable."""
    given = {
        "oid_partner": OID_PARTNER,
        "private_key_file": str(keys.folder / "merchant-private.pem"),
        "gateway_public_key_file": str(keys.folder / "gateway-public.pem"),
    }
    with pytest.raises(ConfigError, match=rf"{missing} is missing \(.*\): set LIANLIAN_{missing.upper()}"):
        Settings.load(environ={}, **{**given, missing: None}).merchant()
    merchant = Settings.load(environ={}, **given).merchant()
    assert (merchant.base_url, merchant.notify_url, merchant.on_this_machine) == (PRODUCTION_URL, None, False)
    assert PRODUCTION_URL.endswith("/paymentapi/")


def test_a_key_file_that_is_missing(keys: Keys, tmp_path: Path) -> None:
    """ConfigError names the file."""
    settings = Settings(
        oid_partner=OID_PARTNER, private_key_file=str(tmp_path / "none.pem"),
        gateway_public_key_file=str(keys.folder / "gateway-public.pem"),
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"none\.pem"):
        settings.merchant()


@pytest.mark.parametrize(
    ("url", "becomes", "ours"),
    [
        ("https://instantpay.lianlianpay.com/paymentapi/", "https://instantpay.lianlianpay.com/paymentapi/", False),
        ("https://test.lianlianpay-inc.com/paymentapi", "https://test.lianlianpay-inc.com/paymentapi/", False),
        ("https://yintong.com.cn", "https://yintong.com.cn/", False),
        ("https://INSTANTPAY.LianLianPay.com/", "https://INSTANTPAY.LianLianPay.com/", False),
        ("http://127.0.0.1:8080/paymentapi/", "http://127.0.0.1:8080/paymentapi/", True),
        ("http://localhost:8080/", "http://localhost:8080/", True),
        ("http://[::1]:8080/", "http://[::1]:8080/", True),
    ],
)
def test_an_address_that_may_have_our_orders(ring: KeyRing, url: str, becomes: str, ours: bool) -> None:
    """LianLian's hosts over TLS, and this machine."""
    merchant = a_merchant(ring, base_url=url)
    assert (merchant.base_url, merchant.on_this_machine) == (becomes, ours)


@pytest.mark.parametrize(
    "url",
    [
        "http://instantpay.lianlianpay.com/", "https://lianlianpay.com.evil.example/", "https://evillianlianpay.com/",
        "https://evil.example/", "https://user:pw@instantpay.lianlianpay.com/", "ftp://instantpay.lianlianpay.com/",
        "https:///paymentapi/", "instantpay.lianlianpay.com", "", "https://instantpay.lianlianpay.com/#x",
        "http://192.168.0.1/", "http://0.0.0.0/", "https://instantpay。lianlianpay.com/", "https://lianlianpay.com:0/",
        "https://lianlianpay.com\\@evil.example/", "https://evil.example/?lianlianpay.com", "http://localhost.evil.example/",
    ],
)  # fmt: skip
def test_an_address_that_may_not(ring: KeyRing, url: str) -> None:
    """ConfigError: orders hold card numbers and names, and go nowhere else."""
    with pytest.raises(ConfigError):
        a_merchant(ring, base_url=url)


@pytest.mark.parametrize(
    "url", ["https://127.evil.example/", "https://127.0.0.1.evil.example/paymentapi/", "https://127.0.0.1.nip.example/"]
)
def test_a_host_that_only_looks_like_this_machine(ring: KeyRing, url: str) -> None:
    """A name is no loopback address, whatever it begins with."""
    with pytest.raises(ConfigError):
        a_merchant(ring, base_url=url)


def test_an_address_with_a_query(ring: KeyRing) -> None:
    """What cannot have a path behind it is no base address."""
    with pytest.raises(ConfigError):
        a_merchant(ring, base_url="https://instantpay.lianlianpay.com/paymentapi/?x=1")


@pytest.mark.parametrize(
    "url", ["http://a.example.com/n", "https://u:p@a.example.com/n", "https://" + "a" * 70 + ".example/", "x"]
)
def test_a_notify_url_that_cannot_be_used(ring: KeyRing, url: str) -> None:
    """ConfigError names the specification's section."""
    with pytest.raises(ConfigError, match=r"notify_url .*specification 3\.1"):
        a_merchant(ring, notify_url=url)
    assert a_merchant(ring, notify_url="").notify_url is None


LOOPBACK = ["http://127.0.0.1/n", "https://[::1]/", "https://localhost/n", "https://127.8.8.8/n"]


@pytest.mark.parametrize("url", LOOPBACK)
def test_this_machine_is_told_to_no_real_gateway(ring: KeyRing, url: str) -> None:
    """LianLian would post what was paid to a machine of its own; a simulator here may post here (T12)."""
    with pytest.raises(ConfigError, match="cannot reach"):
        a_merchant(ring, notify_url=url)
    assert a_merchant(ring, notify_url=url, base_url="http://127.0.0.1:9/paymentapi/").notify_url == url


@pytest.mark.parametrize("url", LOOPBACK)
def test_an_order_that_brings_its_own_notify_url(ring: KeyRing, url: str) -> None:
    """It keeps what the configured one must keep."""
    order, now = an_order(notify_url=url), SystemClock().now()
    with pytest.raises(InvalidOrder, match="cannot reach"):
        intent_of(order, "k", a_merchant(ring), now)
    here = a_merchant(ring, base_url="http://127.0.0.1:9/paymentapi/")
    assert intent_of(order, "k", here, now).content["notify_url"] == url


@pytest.mark.parametrize("partner", ["", "abc", "1" * 19, "２０１６０６０２００００１５００６２"])
def test_a_merchant_number_that_is_none(ring: KeyRing, partner: str) -> None:
    """Refused before anything starts."""
    with pytest.raises(LianLianError, match="oid_partner"):
        a_merchant(ring, oid_partner=partner)


def test_a_merchant_number_from_the_settings(keys: Keys) -> None:
    """`Settings.merchant` raises ConfigError, as it says."""
    settings = Settings(
        oid_partner="abc", private_key_file=str(keys.folder / "merchant-private.pem"),
        gateway_public_key_file=str(keys.folder / "gateway-public.pem"),
    )  # fmt: skip
    with pytest.raises(ConfigError):
        settings.merchant()


def test_a_platform_that_cannot_be_sent(ring: KeyRing) -> None:
    """A merchant that can neither pay nor query is refused at the start."""
    with pytest.raises(LianLianError):
        a_merchant(ring, platform="a&b=c")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Limits(in_flight=0), lambda: Limits(in_flight=1.5), lambda: Limits(queries_per_s="fast"),
        lambda: Timeouts(pay_s=0), lambda: Timeouts(pay_s=301), lambda: Timeouts(query_s=float("nan")),
    ],
)  # fmt: skip
def test_limits_that_make_no_sense(make: Any) -> None:
    """ConfigError, like everything else that is wrong with the set-up."""
    with pytest.raises(ConfigError):
        make()


def test_what_a_merchant_shows(ring: KeyRing) -> None:
    """Its repr has fingerprints, and no key."""
    shown = repr(a_merchant(ring))
    assert "KeyRing merchant" in shown
    assert "PRIVATE" not in shown
    assert len(shown) < 500
