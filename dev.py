"""Everything a developer or CI runs, with all the set-up done: `python3 dev.py demo`, `python3 dev.py test`.

Needs Python 3.11 or newer with pip, and nothing else. It makes `.venv` beside this file and installs the
project there; each command may be run first.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
EXTRAS = "cli,review,sftp,xlsx,uvloop"
# What must be covered to the last branch: here a wrong turn costs money.
FULLY_COVERED = ("protocol", "crypto", "codec.py", "resolver", "receiving.py", "notifications")
COVERED_OVER_ALL = 95
# These go through the same lines again and again, or start a hundred processes: measuring that would double their time
# and find nothing more. The longest come first, so that at the end no core waits for the other's last one.
NOT_MEASURED = (
    "proofs", "cli/test_cli_kills.py", "client/test_client_storm.py", "machine", "notifications/test_burst.py",
    "cli/test_cli_demo.py", "cli/test_cli_interrupted.py", "cli/test_cli_pay_large.py", "cli/test_cli_pay.py",
    "client/test_client_crash.py", "client/test_client_cancel.py", "cli/test_cli_reviewing.py",
    "cli/test_cli_people.py", "cli/test_cli_looking.py", "cli/test_cli_output_lost.py", "cli/test_cli_operating.py",
    "model", "mutation",
    "simulation", "journal/test_journal_agreement.py", "resolver/test_every_row.py", "resolver/test_walks.py",
    "resolver/test_money_safety.py", "resolver/test_order_and_repetition.py", "fuzz",
)  # fmt: skip


def python(environment: Path) -> str:
    """The interpreter of a virtual environment."""
    return str(environment / "bin" / "python")


def run(*command: str, cwd: Path = ROOT, **environ: str) -> None:
    """Run a command and end with its status if it fails."""
    done = subprocess.run(command, cwd=cwd, env={**os.environ, **environ}, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def group(name: str) -> list[str]:
    """The requirements of a dependency group of pyproject.toml (older pips cannot read groups)."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["dependency-groups"]
    return list(groups[name])


def install(environment: Path, *what: str) -> None:
    """Install into a virtual environment that has no pip of its own (some systems ship without ensurepip)."""
    if not (environment / "bin" / "python").exists():
        venv.EnvBuilder(with_pip=False, symlinks=True).create(environment)
    quiet = ("--quiet", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "--python", python(environment), "install", *quiet, *what)


def set_up(*groups: str) -> str:
    """Make `.venv` with the project and the named groups, once for each change of pyproject.toml."""
    wanted = [requirement for name in groups for requirement in group(name)]
    project = (ROOT / "pyproject.toml").read_bytes() + sys.version.encode()
    mark = VENV / f"installed-{'-'.join(groups) or 'project'}"
    digest = hashlib.sha256(project).hexdigest()
    # What was installed with more groups has these, too.
    marks = (old for old in VENV.glob("installed-*") if set(groups) <= set(old.name.split("-")))
    if not any(old.read_text() == digest for old in marks):
        print("setting up .venv (a minute or two, once)", flush=True)
        install(VENV, "--editable", f".[{EXTRAS}]", *wanted)
        mark.write_text(digest)
    return python(VENV)


def bring_chromium() -> None:
    """Install the browser that the review page is tested with; where that cannot be done, its tests say so."""
    if (shutil.which("chromium") and shutil.which("chromedriver")) or not shutil.which("apt-get") or os.geteuid():
        return
    print("installing Chromium for the tests of the review page (once)", flush=True)
    for command in (["update"], ["install", "--yes", "--no-install-recommends", "chromium", "chromium-driver"]):
        environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        done = subprocess.run(["apt-get", "-qq", *command], env=environ, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"apt-get {command[0]} failed: {' '.join(done.stderr.split())[-300:]}", flush=True)


def demo(*arguments: str) -> None:
    """Pay a batch against the simulator while everything goes wrong."""
    run(set_up(), "-m", "lianlian_async", "demo", *arguments)


def test(*arguments: str) -> None:
    """Run all tests, on all cores; with branch coverage those that it is for."""
    interpreter = set_up("test")
    if not arguments or "review" in " ".join(arguments):
        bring_chromium()
    if arguments:
        run(interpreter, "-m", "pytest", *arguments)
        return
    for old in ROOT.glob(".coverage*"):
        old.unlink()
    # One process more than cores: while a test waits for a clock, or for processes of its own, another works.
    on_all_cores = ("-m", "pytest", "-n", str((os.cpu_count() or 2) + 1), "--dist", "worksteal")
    apart = [f"tests/{path}" for path in NOT_MEASURED]
    run(interpreter, *on_all_cores, *apart)
    run(interpreter, "-m", "coverage", "run", *on_all_cores, *(f"--ignore={path}" for path in apart))
    run(interpreter, "-m", "coverage", "combine", "--quiet")
    run(interpreter, "-m", "coverage", "report", f"--fail-under={COVERED_OVER_ALL}", "--skip-covered")
    fully = ",".join(f"lianlian_async/{part}" + ("" if part.endswith(".py") else "/*") for part in FULLY_COVERED)
    run(interpreter, "-m", "coverage", "report", "--fail-under=100", f"--include={fully}", "--skip-covered")


def check() -> None:
    """Lint, formatting and strict types."""
    interpreter = set_up("test", "check")
    run(interpreter, "-m", "ruff", "check", ".")
    run(interpreter, "-m", "ruff", "format", "--check", ".")
    run(interpreter, "-m", "mypy")


def wheel(*arguments: str) -> None:
    """Build the wheel, install it alone elsewhere, test it; --keep DIR leaves a release there, --sign KEY signs it."""
    options = argparse.ArgumentParser(prog="python3 dev.py wheel")
    options.add_argument("--keep", type=Path, metavar="DIR", help="leave what was built and tested in this new folder")
    options.add_argument("--sign", type=Path, metavar="KEY", help="sign the checksums with this SSH key (with --keep)")
    chosen = options.parse_args(arguments)
    if chosen.keep and chosen.keep.exists():
        options.error(f"--keep {chosen.keep} is there already; a release begins in a folder of its own")
    if chosen.sign and not (chosen.keep and chosen.sign.is_file() and shutil.which("ssh-keygen")):
        options.error("--sign needs --keep DIR, a key file that exists, and ssh-keygen")
    interpreter = set_up("test", "check")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        dist = place / "dist"
        run(interpreter, "-m", "build", "--no-isolation", "--outdir", str(dist), str(ROOT))
        built = next(dist.glob("*.whl"))
        elsewhere = place / "elsewhere"
        install(elsewhere, str(built))
        run(python(elsewhere), "-c", IMPORTS_NOTHING_ELSE, cwd=place)
        list_materials(interpreter, elsewhere, built)
        print(sum_up(dist), end="", flush=True)
        install(elsewhere, f"{built}[{EXTRAS}]", *group("test"))
        shutil.copytree(ROOT / "tests", place / "tests")
        shutil.copy(ROOT / "pyproject.toml", place / "pyproject.toml")
        wanted = ("-m", "not slow and not checkout", *OF_THE_WHEEL)
        run(python(elsewhere), "-m", "pytest", "-q", "-n", "2", *wanted, cwd=place)
        if chosen.sign:
            sign(dist, chosen.sign.resolve())
        if chosen.keep:
            shutil.copytree(dist, chosen.keep)


def list_materials(interpreter: str, bare: Path, built: Path) -> None:
    """Write the bill of materials (CycloneDX) beside a wheel: what installing it alone has brought, by version."""
    bill = built.with_suffix(".cdx.json")
    how = ("environment", "--mc-type", "library", "--output-reproducible", "--output-file", str(bill))
    run(interpreter, "-m", "cyclonedx_py", *how, python(bare))
    content = json.loads(bill.read_text("utf-8"))
    for component in content["components"]:  # where the wheel lay when it was installed is nobody's business
        outside = [one for one in component.get("externalReferences", []) if not one["url"].startswith("file:")]
        component["externalReferences"] = outside
    bill.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")


def sum_up(dist: Path) -> str:
    """Write the SHA-256 of each file of a folder, the way `sha256sum --check` reads it."""
    made = sorted(path for path in dist.iterdir() if path.suffix in (".whl", ".gz", ".json"))
    sums = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in made)
    (dist / "SHA256SUMS").write_text(sums, "utf-8")
    return sums


def sign(dist: Path, key: Path) -> None:
    """Sign the checksums of a folder with an SSH key; docs/releasing.md has how one verifies it."""
    run("ssh-keygen", "-q", "-Y", "sign", "-n", "file", "-f", str(key), str(dist / "SHA256SUMS"))


# What can break between a checkout and a wheel: data files, extras, the command; not the logic, which `test` covers.
OF_THE_WHEEL = (
    "tests/test_public_names.py",
    "tests/protocol/test_banks.py",
    "tests/batch/test_batch_sheets.py",
    "tests/client/test_client_pay.py",
    "tests/cli/test_cli_operating.py",
    "tests/review/test_review_pages.py",
    "tests/reconcile/test_report.py",
)

IMPORTS_NOTHING_ELSE = """
import sys
import lianlian_async
names = {"aiohttp", "click", "rich", "openpyxl", "uvloop", "starlette", "jinja2", "uvicorn", "asyncssh"}
extras = names & set(sys.modules)
assert not extras, extras
print("lianlian_async", lianlian_async.__version__, "imports with its core packages alone")
"""


def proof(*arguments: str) -> None:
    """Simulate a million faulted payouts (two hours); --write renews docs/proof.md, --keep FILE survives a cut."""
    run(set_up("test"), "-m", "simulation.proof", *arguments, PYTHONPATH=str(ROOT / "tests"))


def model(*arguments: str) -> None:
    """Try every state of client, gateway and network (about a minute); --write renews docs/model.md."""
    tests = ROOT / "tests"
    run(set_up("test"), "-m", "model", *arguments, PYTHONPATH=os.pathsep.join([str(tests), str(tests / "resolver")]))


def fuzz(*arguments: str) -> None:
    """Fuzz every door that takes other people's bytes, with atheris: --seconds 60, --runs N, --target NAME."""
    interpreter = set_up("test")
    importable = (interpreter, "-c", "import atheris")
    if subprocess.run(importable, capture_output=True, check=False).returncode:
        pip = (sys.executable, "-m", "pip", "--python", interpreter, "install", "--quiet", *group("fuzz"))
        subprocess.run(pip, capture_output=True, check=False)
        if subprocess.run(importable, capture_output=True, check=False).returncode:
            print("atheris, the fuzzer, cannot be installed here: it needs Linux and a Python it has a wheel for.")
            sys.exit(2)
    run(interpreter, "-m", "fuzz.run", *arguments, PYTHONPATH=str(ROOT / "tests"))


def machine(*arguments: str) -> None:
    """Let Hypothesis choose a payout's fate, move by move (--examples 20000 --steps 100 takes a night)."""
    run(set_up("test"), "-m", "machine", *arguments, PYTHONPATH=str(ROOT / "tests"))


def mutate(*arguments: str) -> None:
    """Plant every small fault in the heart of the library (ten minutes); a test must notice each."""
    # With this seed a set of PAID and REFUNDED begins with PAID, so that taking the first instead of REFUNDED shows.
    run(set_up("test"), "-m", "mutation", *arguments, PYTHONPATH=str(ROOT / "tests"), PYTHONHASHSEED="10")


COMMANDS = {
    "demo": demo, "test": test, "proof": proof, "model": model, "machine": machine, "fuzz": fuzz, "mutate": mutate,
    "check": check, "wheel": wheel,
}  # fmt: skip


def main() -> None:
    """Run one command."""
    if sys.version_info < (3, 11):  # noqa: UP036 - this file is what an older Python meets first
        sys.exit(f"lianlian_async needs Python 3.11 or newer; this is {sys.version.split()[0]}")
    name, *arguments = sys.argv[1:] or ["help"]
    if name not in COMMANDS:
        lines = [f"  python3 dev.py {name:7} {command.__doc__}" for name, command in COMMANDS.items()]
        sys.exit("\n".join(["commands:", *lines]))
    COMMANDS[name](*arguments)


if __name__ == "__main__":
    main()
