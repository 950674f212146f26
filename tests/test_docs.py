"""The reference pages say what the code does, because they are written from its tables."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = [
    pytest.mark.checkout,
    pytest.mark.skipif(not (ROOT / "docs" / "render.py").exists(), reason="only in a checkout, not beside a wheel"),
]


def renderer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("render", ROOT / "docs" / "render.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["ret-codes.md", "decisions.md", "fields.md"])
def test_reference_page_is_what_the_tables_say(page: str) -> None:
    """After a change of a table, `python docs/render.py` has to be run, and the change shows in the diff."""
    assert (ROOT / "docs" / page).read_text("utf-8") == renderer().render(page)


@pytest.mark.parametrize(
    "page", sorted(p.relative_to(ROOT).as_posix() for p in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    """A relative link names a file that exists."""
    path = ROOT / page
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", path.read_text("utf-8")):
        assert (path.parent / target).exists(), target
