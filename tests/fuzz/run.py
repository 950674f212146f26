"""atheris over one target or all of them, one on each core: `python3 dev.py fuzz --seconds 60 --target NAME`.

Each target begins with its stored corpus and with what earlier runs found in `.fuzz/NAME`. A finding is an exception,
an input that takes more than 50 ms of processor time for each 64 KiB (instrumented code is slower: ten times that), or
one that makes the process larger than a GiB. It is left as `.fuzz/NAME/crash-...`, and the run ends with status 1.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from command_numbers import how_many

from .mutate import CORPUS, dictionary_file

FOUND = Path(__file__).parent.parent.parent / ".fuzz"
BYTES_MAX = 66_000  # a little more than any of our doors lets in
RSS_MIB_MAX = 1024
_SECONDS_MAX = 0.05 * 10
_UNIT_BYTES = 65536
NAMES = ("notification", "answers", "envelope", "keys", "batch", "sheet")


class TooSlow(Exception):
    """This much time for so few bytes: a finding."""


def watched(target: Callable[[bytes], bool]) -> Callable[[bytes], None]:
    """`target`, which may only take as long as its input warrants."""

    def run(data: bytes) -> None:
        allowed = _SECONDS_MAX * (1 + len(data) / _UNIT_BYTES)
        # A busy machine makes one run slow; it does not make the same input slow three times.
        if all(_seconds(target, data) > allowed for _ in range(3)):
            raise TooSlow(f"{len(data)} bytes took more than {allowed} s, three times")

    return run


def _seconds(target: Callable[[bytes], bool], data: bytes) -> float:
    start = time.process_time()
    target(data)
    return time.process_time() - start


def fuzz_one(name: str, flags: list[str]) -> None:
    """In a process of its own: libFuzzer does not come back."""
    import atheris

    with atheris.instrument_imports(include=["lianlian_async"]):
        from .targets import TARGETS
    atheris.Setup([f"fuzz-{name}", *flags], watched(TARGETS[name]))
    atheris.Fuzz()


def fuzz(name: str, *, seconds: int | None, runs: int | None, seed: int) -> bool:
    """Fuzz one target and say what came of it; True when nothing was found."""
    found = FOUND / name
    found.mkdir(parents=True, exist_ok=True)
    limits = [f"-max_total_time={seconds}"] if runs is None else [f"-runs={runs}"]
    flags = [
        *limits, f"-seed={seed}", f"-max_len={BYTES_MAX}", "-timeout=60", f"-rss_limit_mb={RSS_MIB_MAX}",
        f"-artifact_prefix={found}/", f"-dict={dictionary_file(name)}", str(found), str(CORPUS / name),
    ]  # fmt: skip
    command = [sys.executable, "-m", "fuzz.run", "--one", name, "--", *flags]
    # With a seed and a number of runs, the same inputs every time: nothing else is left to chance.
    own = {**os.environ, "PYTHONHASHSEED": str(seed)} if seed else None
    done = subprocess.run(command, env=own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    text = done.stdout.decode("utf-8", "replace")
    ended = re.search(r"Done (\d+) runs in (\d+) second", text)
    if done.returncode == 0 and ended:
        print(f"{name}: {ended[1]} executions in {ended[2]} s, nothing found", flush=True)
        return True
    print(f"{name}: found something (status {done.returncode})\n{text[-6000:]}", flush=True)
    return False


def main() -> None:
    """Every target, or one."""
    parser = argparse.ArgumentParser(prog="python3 dev.py fuzz", description=__doc__)
    parser.add_argument("--target", choices=NAMES, action="append", help="only this one (may be repeated)")
    parser.add_argument("--seconds", type=how_many, default=60, help="how long for each target (60)")
    parser.add_argument("--runs", type=how_many, help="how many executions of each target, instead of how long")
    parser.add_argument("--seed", type=int, default=0, help="of libFuzzer; 0 is another one each time")
    parser.add_argument("--jobs", type=how_many, default=os.cpu_count(), help="how many at a time [%(default)s]")
    parser.add_argument("--one", choices=NAMES, help=argparse.SUPPRESS)
    parser.add_argument("--input", type=Path, help="run one file through --target, to see a finding again")
    parser.add_argument("flags", nargs="*", help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.one:
        fuzz_one(told.one, told.flags)
    elif told.input:
        from .targets import TARGETS

        for name in told.target or NAMES:
            print(f"{name}: {'accepted' if TARGETS[name](told.input.read_bytes()) else 'refused'}")
    else:
        one = partial(fuzz, seconds=told.seconds, runs=told.runs, seed=told.seed)
        with ThreadPoolExecutor(told.jobs) as pool:
            sys.exit(0 if all(list(pool.map(one, told.target or NAMES))) else 1)


if __name__ == "__main__":
    main()
