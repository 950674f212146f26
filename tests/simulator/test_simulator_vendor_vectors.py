"""The simulator's own signature code against genuine messages of LianLian's production key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lianlian_async.testing.simulator.wire import NotSigned, load_public_key, parse, verify

VECTORS = Path(__file__).parents[2] / "../shared/vectors/vendor-signatures.jsonl"


@pytest.mark.skipif(not VECTORS.exists(), reason="the vendor's vectors are not part of the repository")
def test_genuine_signatures_verify_and_altered_ones_do_not():
    """Every verdict of the vector file is reached."""
    rows = [json.loads(line) for line in VECTORS.read_text("utf-8").splitlines() if line]
    keys = {row["name"]: load_public_key(row["public_key"].encode()) for row in rows if "public_key" in row}
    judged = 0
    for row in rows:
        if "message" not in row:
            continue
        try:
            verify(parse(row["message"].encode()), keys[row["key"]])
            verdict = True
        except NotSigned:
            verdict = False
        assert verdict == (str(row["valid"]).lower() == "true"), row["id"]
        judged += 1
    assert judged >= 15
