"""T21: what is given away has its bill of materials and its checksums, and is signed whole or not at all."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent.parent
pytestmark = [
    pytest.mark.checkout,
    pytest.mark.skipif(not (ROOT / "dev.py").exists(), reason="only in a checkout, not beside a wheel"),
]


@pytest.fixture(name="dev")
def _dev() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dev_of_this_checkout", ROOT / "dev.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(name="dist")
def _dist(tmp_path: Path) -> Path:
    made = tmp_path / "dist"
    made.mkdir()
    (made / "lianlian_async-1.0-py3-none-any.whl").write_bytes(b"a wheel")
    (made / "lianlian_async-1.0.tar.gz").write_bytes(b"a source distribution")
    return made


def test_one_changed_byte_is_found(dev: ModuleType, dist: Path) -> None:
    """The sums are what `sha256sum --check` reads; without the check a changed wheel would be installed."""
    if not shutil.which("sha256sum"):
        pytest.skip("sha256sum is not here")
    told = dev.sum_up(dist)
    assert [line.split("  ")[1] for line in told.splitlines()] == sorted(p.name for p in dist.glob("lianlian*"))
    check = ("sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS")
    assert subprocess.run(check, cwd=dist, check=False).returncode == 0
    (dist / "lianlian_async-1.0.tar.gz").write_bytes(b"a source distributiom")
    assert subprocess.run(check, cwd=dist, check=False, capture_output=True).returncode != 0


def test_sums_of_another_hand_are_found(dev: ModuleType, dist: Path) -> None:
    """Whoever changes a file and its sum has not the key: the signature is over the sums."""
    if not shutil.which("ssh-keygen"):
        pytest.skip("ssh-keygen is not here")
    key = dist.parent / "release"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    signers = dist.parent / "signers"
    signers.write_text(f"us {key.with_suffix('.pub').read_text('utf-8')}", "utf-8")
    dev.sum_up(dist)
    dev.sign(dist, key)

    def proven() -> bool:
        how = ("ssh-keygen", "-Y", "verify", "-f", str(signers), "-I", "us", "-n", "file", "-s", "SHA256SUMS.sig")
        sums = (dist / "SHA256SUMS").read_bytes()
        return subprocess.run(how, input=sums, cwd=dist, check=False, capture_output=True).returncode == 0

    assert proven()
    (dist / "lianlian_async-1.0.tar.gz").write_bytes(b"another")
    dev.sum_up(dist)
    assert not proven()


def test_bill_names_what_is_installed_and_no_place(dev: ModuleType, dist: Path) -> None:
    """Each core package by version; nothing of the machine that it was made on."""
    if importlib.util.find_spec("cyclonedx_py") is None:
        pytest.skip("what makes the bill is not here: `python3 dev.py check` installs it")
    built = next(dist.glob("*.whl"))
    dev.list_materials(sys.executable, Path(sys.prefix), built)
    text = (dist / "lianlian_async-1.0-py3-none-any.cdx.json").read_text("utf-8")
    found = {one["name"]: one.get("version") for one in json.loads(text)["components"]}
    assert {"anyio", "attrs", "cryptography", "httpx2", "tenacity", "lianlian-async"} <= set(found)
    assert all(found.values())
    assert "file:" not in text
    assert str(ROOT) not in text


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--sign", "KEY"), "--sign needs --keep"),
        (("--keep", "NEW", "--sign", "NO SUCH KEY"), "a key file that exists"),
        (("--keep", "OLD"), "is there already"),
        (("--keep", "OLD", "--sign", "KEY"), "is there already"),
    ],
)
def test_half_a_release_is_refused_before_anything_is_built(
    dev: ModuleType, tmp_path: Path, arguments: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A signature over nothing that stays, a key that is not there, or a folder with an older release in it."""
    places = {"KEY": tmp_path / "key", "NO SUCH KEY": tmp_path / "none", "NEW": tmp_path / "new", "OLD": tmp_path}
    (tmp_path / "key").write_text("a key")
    with pytest.raises(SystemExit) as refused:
        dev.wheel(*(str(places.get(word, word)) for word in arguments))
    assert refused.value.code == 2
    assert why in capsys.readouterr().err
