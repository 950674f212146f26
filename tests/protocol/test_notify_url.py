"""Where notifications may be asked to go."""

from __future__ import annotations

import pytest

from lianlian_async.protocol.notify_url import notify_url_fault


@pytest.mark.parametrize(
    "url",
    [
        "https://pay.example.com/lianlian",
        "https://pay.example.com:8443/a-b_c~d/%20?shop=1",
        "https://" + "a" * 56,
        "https://8.8.8.8/n",
        "https://[2606:4700::1111]/n",
        "https://127.0.0.1:8080/n",
        "http://127.0.0.1:8080/n",
        "http://localhost/n",
        "http://LOCALHOST./n",
        "http://[::1]:8080/n",
        "http://[::ffff:127.0.0.1]/n",
        "https://xn--fiqs8s.example/n",
    ],
)
def test_usable_address(url: str):
    """https anywhere public; http and private only on this machine."""
    assert notify_url_fault(url) is None


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("https://" + "a" * 57, "has 65 characters"),
        ("https://pay.example.com/a&b=c", "'&' included"),
        ("https://pay.example.com/a b", "may not stand in it"),
        ("https://支付.example/n", "may not stand in it"),
        ("https://pay.example.com\\@evil.example/", "may not stand in it"),
        ("https://[::1/n", "is not a web address"),
        ("https://pay.example.com:99999/", "is not a web address"),
        ("https://pay.example.com:0/", "is not a web address"),
        ("https://pay.example.com:x/", "is not a web address"),
        ("https:///n", "is not a web address"),
        ("ftp://pay.example.com/n", "is not a web address"),
        ("pay.example.com/n", "is not a web address"),
        ("file:/etc/passwd", "is not a web address"),
        ("https://user:secret@pay.example.com/", "user name or password"),
        ("https://@pay.example.com/", "user name or password"),
        ("https://pay.example.com/#top", "fragment"),
        ("https://pay.example.com/#", "fragment"),
        ("http://pay.example.com/n", "is not https"),
        ("http://8.8.8.8/n", "is not https"),
        ("https://10.0.0.1/n", "private network"),
        ("https://192.168.1.1/n", "private network"),
        ("https://169.254.169.254/n", "private network"),
        ("https://0.0.0.0/n", "private network"),
        ("https://224.0.0.1/n", "private network"),
        ("https://[fe80::1]/n", "private network"),
        ("https://[fd00::1]/n", "private network"),
        ("https://[::ffff:10.0.0.1]/n", "private network"),
        ("https://[ff0e::1]/n", "private network"),
        ("https://127.1/n", "no valid host name"),
        ("https://2130706433/n", "no valid host name"),
        ("https://0x7f000001/n", "no valid host name"),
        ("https://0177.0.0.1/n", "no valid host name"),
        ("https://-pay.example.com/n", "no valid host name"),
        ("https://pay..example.com/n", "no valid host name"),
        ("https://pay_x.example.com/n", "no valid host name"),
    ],
)
def test_unusable_address(url: str, problem: str):
    """Each is refused with its reason and a way out."""
    fault = notify_url_fault(url)
    assert fault is not None
    assert problem in fault[0]
    assert fault[1]


def test_http_on_demand():
    """Plain http must be asked for, and opens nothing else."""
    assert notify_url_fault("http://shop.example/n", allow_http=True) is None
    assert notify_url_fault("http://10.0.0.1/n", allow_http=True) is not None
    assert notify_url_fault("ftp://shop.example/n", allow_http=True) is not None
