"""Which modules are mutated, and which tests have to notice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from attrs import frozen

__all__ = ["PACKAGE", "ROOT", "TARGETS", "Target"]

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGE: Final = ROOT / "lianlian_async"


@frozen
class Target:
    """One module (of it, `only` some functions), and the files or folders whose tests cover it."""

    module: str
    tests: Sequence[str]
    only: Sequence[str] = ()
    root: Path = ROOT  # where pytest runs
    package: str = PACKAGE.name

    @property
    def folder(self) -> Path:
        """The package's."""
        return self.root / self.package

    @property
    def path(self) -> Path:
        return self.folder / f"{self.module}.py"

    @property
    def import_name(self) -> str:
        return f"{self.package}." + self.module.removesuffix("/__init__").replace("/", ".")


# The tests that state one situation each; the searches beside them take seconds a mutant and add little here.
_RESOLVER: Final = tuple(
    f"tests/resolver/test_{name}.py"
    for name in (
        "binding", "decide_edges", "lattice", "looks", "pacing", "permits", "resend", "stricter_readings",
        "table_of_confirm", "table_of_notify", "table_of_pay", "table_of_query", "table_of_statement", "view",
    )
)  # fmt: skip
# What states the tables row by row, the printed pages among them.
_TABLES: Final = ("tests/resolver/test_rows.py", "tests/resolver/test_rules.py", "tests/test_docs.py")
_MASKING: Final = ("mask_card", "mask_name", "safe_text", "_shows")

TARGETS: Final = {
    target.module: target
    for target in (
        Target("resolver/states", _RESOLVER),
        Target("resolver/decide", _RESOLVER),
        Target("resolver/evidence", (*_RESOLVER, *_TABLES)),
        Target("resolver/rules", _TABLES),
        Target("resolver/permits", ("tests/resolver/test_permits.py", "tests/resolver/test_permits_told.py")),
        Target("resolver/binding", ("tests/resolver/test_binding.py",)),
        Target(
            "crypto/signing", ("tests/crypto/test_signing.py", "tests/crypto/test_vectors.py", "tests/test_codec.py")
        ),
        Target("codec", ("tests/test_codec.py",)),
        Target("protocol/fields", ("tests/protocol/test_fields.py", "tests/protocol/test_messages.py"), _MASKING),
        Target(
            "transport/__init__",
            tuple(f"tests/transport/test_transport_{name}.py" for name in ("seam", "settings")),
        ),
        Target(
            "resolver/pacing",
            ("tests/resolver/test_pacing.py", "tests/resolver/test_decide_edges.py", "tests/resolver/test_resend.py"),
        ),
        Target("watch", ("tests/client/test_watch_seconds.py",)),
    )
}
