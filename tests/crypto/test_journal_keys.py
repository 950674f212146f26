"""The key file of an encrypted journal: what is taken, what is refused, and that no key ever shows."""

from __future__ import annotations

import base64
import copy
import pickle
import traceback
from pathlib import Path

import pytest

from lianlian_async.crypto import JournalKeys, make_journal_key
from lianlian_async.errors import ConfigError

KEY = bytes(range(32))
ENCODED = base64.b64encode(KEY).decode()
LINE = f"a:{ENCODED}\n"


def key_file(folder: Path, content: str | bytes, mode: int = 0o600) -> Path:
    path = folder / "journal.keys"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("content", [LINE, LINE.rstrip(), f"\n  {LINE}\r\n\n"], ids=["plain", "no end", "blanks"])
def test_a_file_with_one_key(tmp_path: Path, content: str) -> None:
    """It is taken, blank lines or not; what is derived from it depends on key, salt and purpose, and on nothing else."""
    keys = JournalKeys.load(key_file(tmp_path, content))
    assert (keys.newest, keys.ids) == ("a", ("a",))
    same = JournalKeys({"other": KEY})
    assert keys.derived("a", b"salt", "x") == same.derived("other", b"salt", "x")
    others = [keys.derived("a", b"salt", "y"), keys.derived("a", b"tlas", "x"), keys.derived("a", b"salt", "x")]
    assert len({*others, JournalKeys({"a": bytes(32)}).derived("a", b"salt", "x"), KEY}) == 5


def test_a_file_with_several_keys(tmp_path: Path) -> None:
    """The first is the newest."""
    keys = JournalKeys.load(key_file(tmp_path, make_journal_key("b-2", lambda count: bytes(count)) + LINE.encode()))
    assert (keys.newest, keys.ids) == ("b-2", ("b-2", "a"))
    assert keys.derived("b-2", b"", "x") != keys.derived("a", b"", "x")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "holds no key"),
        ("\n \n", "holds no key"),
        (LINE[:20], "is cut short .* line 1 is not"),
        (LINE[:-2], "is cut short .* line 1 is not"),
        (f"{LINE}b:{ENCODED[:-4]}", "is cut short .* line 2 is not"),
        (ENCODED, "line 1 is not"),
        (f":{ENCODED}", "line 1 is not"),
        (f"a b:{ENCODED}", "line 1 is not"),
        (f"{'a' * 33}:{ENCODED}", "line 1 is not"),
        (f"a: {ENCODED}", "line 1 is not"),
        (f"a:{ENCODED[:-2]}9=", "line 1 is not"),
        (f"a:{base64.b64encode(bytes(31)).decode()}", "line 1 is not"),
        (f"a:{base64.b64encode(bytes(33)).decode()}", "line 1 is not"),
        ("-----BEGIN PRIVATE KEY-----\n", "line 1 is not"),
        (LINE * 2, "two keys of one id: the second is on line 2"),
        (b"\xff\xfe", "is not a journal's key file"),
    ],
)
def test_a_file_that_is_not_one(tmp_path: Path, content: str | bytes, sentence: str) -> None:
    """ConfigError names file and line and says what to do, and never what stands in the line."""
    path = key_file(tmp_path, content)
    with pytest.raises(ConfigError, match=sentence) as refused:
        JournalKeys.load(path)
    frames = traceback.TracebackException.from_exception(refused.value, capture_locals=True).stack
    shown = "".join(f"{frame.name} {frame.locals}" for frame in frames if "lianlian_async" in frame.filename)
    assert "load" in shown
    assert str(path) in str(refused.value)
    assert ENCODED[:10] not in shown
    assert repr(KEY)[2:20] not in shown


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_may_read(tmp_path: Path, mode: int) -> None:
    """ConfigError says which command puts it right, as for the private key."""
    with pytest.raises(ConfigError, match=r"journal_key_file: .* is open to other users .*chmod 600"):
        JournalKeys.load(key_file(tmp_path, LINE, mode))


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    """ConfigError with the path."""
    with pytest.raises(ConfigError, match=r"journal_key_file: .*nowhere cannot be opened"):
        JournalKeys.load(tmp_path / "nowhere")


@pytest.mark.parametrize("keys", [{}, {"a": bytes(31)}, {"": KEY}, {"ü": KEY}])
def test_keys_that_are_none(keys: dict[str, bytes]) -> None:
    """ConfigError."""
    with pytest.raises(ConfigError, match="journal keys are one or more"):
        JournalKeys(keys)


def test_keys_are_shown() -> None:
    """By their ids; they can be neither pickled nor copied."""
    keys = JournalKeys({"b": KEY, "a": KEY})
    assert repr(keys) == str(keys) == "<JournalKeys b, a>"
    for take in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be copied"):
            take(keys)
