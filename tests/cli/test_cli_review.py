"""`review user` and `review serve`: people with passwords, and a page that does not start carelessly."""

from __future__ import annotations

import inspect
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from cli_world import Ran, Shell, make_journal, until

from lianlian_async import LianLianClient
from lianlian_async.review.people import UsersFile, Verifier, add_person

Here = Callable[..., Ran]
PASSWORD = "correct horse battery"
SECRET = "a secret of the tests, of more than 32 characters"


def users_file(folder: Path, mode: int = 0o600, text: str | None = None) -> Path:
    """chen may sign in."""
    path = folder / "users"
    path.write_text(text if text is not None else f"# people\n\nchen:{Verifier.make(PASSWORD, (2, 1, 1))}\n")
    path.chmod(mode)
    return path


# ---------------------------------------------------------------------- people


async def typed(shell: Shell, *words: str, name: str = "chen") -> Ran:
    """`review user`, with what a person types; without a terminal it is read from stdin."""
    lines = "".join(f"{word}\n" for word in words).encode()
    return await shell.run(
        "review", "user", name, "--users", shell.folder / "users", stdin=lines, start_new_session=True,
        env={"PYTHONWARNINGS": "ignore"},
    )  # fmt: skip


async def test_user_is_added(shell: Shell) -> None:
    """The file is made for nobody else to read, and holds no password."""
    path = shell.folder / "users"
    ran = await typed(shell, PASSWORD, PASSWORD)
    assert ran.code == 0, ran.text
    assert f"chen is added to {path}" in ran.out
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert PASSWORD not in path.read_text()
    assert (await typed(shell, PASSWORD, PASSWORD, name="李四")).code == 0
    people = UsersFile(path).people()
    assert list(people) == ["chen", "李四"]
    assert people["chen"].fits(PASSWORD)
    assert not people["chen"].fits(PASSWORD.upper())
    assert people["chen"].salt != people["李四"].salt
    assert list(path.parent.glob(".users*")) == [], "nothing is left beside it"


async def test_user_gets_a_new_password(shell: Shell) -> None:
    """The others and the comments stay."""
    path = users_file(shell.folder)
    add_person(path, "li", PASSWORD)
    ran = await typed(shell, "another password", "another password")
    assert "chen has a new password" in ran.out
    people = UsersFile(path).people()
    assert people["chen"].fits("another password")
    assert people["li"].fits(PASSWORD)
    assert path.read_text().startswith("# people")


async def test_user_with_passwords_that_differ_or_are_short(shell: Shell) -> None:
    """Two different ones are asked for again; a short one is refused with the reason; nothing is written."""
    ran = await typed(shell, PASSWORD, "another password", PASSWORD, PASSWORD)
    assert ran.code == 0
    (shell.folder / "users").unlink()
    ran = await typed(shell, "short", "short")
    assert ran.code == 2
    assert "at least 12 characters" in ran.said
    assert not (shell.folder / "users").exists()


@pytest.mark.parametrize("name", ["", " chen", "a:b", "#x", "x" * 65, "a\nb", "e\u0301", "\u202echen"])
def test_name_that_cannot_be(here: Here, tmp_path: Path, name: str) -> None:
    """What would break the file, or fool a reader of the journal, is refused before a password is asked for."""
    ran = here("review", "user", "--users", tmp_path / "users", "--", name)
    assert ran.code == 2
    assert "the name" in ran.said


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("chen", "line 1: not of the form"),
        ("chen:plain", "line 1: not of the form"),
        ("\nchen:scrypt$3$1$1$" + "0" * 32 + "$" + "0" * 64, "line 2: its scrypt parameters"),
        ("chen:scrypt$4194304$99$1$" + "0" * 32 + "$" + "0" * 64, "line 1: its scrypt parameters"),
        ("a b:x\n".replace("a b", " a"), "line 1: the name"),
        (f"chen:{Verifier.make('x', (2, 1, 1))}\n" * 2, "line 2: the name stands there twice"),
        ("# nobody\n", "there is nobody in"),
    ],
)
def test_users_file_that_is_wrong(here: Here, tmp_path: Path, text: str, problem: str) -> None:
    """The line and the reason are told, and the page does not start."""
    path = users_file(tmp_path, text=text)
    ran = here("review", "serve", "--users", path, LIANLIAN_REVIEW_SECRET=SECRET)
    assert ran.code == 2
    assert problem in ran.said


def test_users_file_that_cannot_be_used(here: Here, tmp_path: Path) -> None:
    """Open to others, a folder, not UTF-8, or in a folder that is not there: one sentence each."""
    for mode in (0o640, 0o604, 0o620):
        ran = here("review", "serve", "--users", users_file(tmp_path, mode), LIANLIAN_REVIEW_SECRET=SECRET)
        assert ran.code == 2
        assert "chmod 600" in ran.said
    ran = here("review", "serve", "--users", tmp_path, LIANLIAN_REVIEW_SECRET=SECRET)
    assert "is not a file of users" in ran.said
    (tmp_path / "users").chmod(0o600)
    (tmp_path / "users").write_bytes(b"\xff")
    ran = here("review", "serve", "--users", tmp_path / "users", LIANLIAN_REVIEW_SECRET=SECRET)
    assert "is not UTF-8" in ran.said
    with pytest.raises(Exception, match="cannot be written"):
        add_person(tmp_path / "nowhere" / "users", "chen", PASSWORD)


# ---------------------------------------------------------------------- starting the page


def test_serve_without_people_or_secret(here: Here, tmp_path: Path) -> None:
    """Each refusal is one sentence that says how to make what is missing."""
    path = users_file(tmp_path)
    ran = here("review", "serve", LIANLIAN_REVIEW_SECRET=SECRET)
    assert ran.code == 2
    assert (
        "set LIANLIAN_REVIEW_USERS_FILE (or --users FILE), and `lianlian-async review user NAME` makes it" in ran.said
    )
    ran = here("review", "serve", "--users", tmp_path / "none", LIANLIAN_REVIEW_SECRET=SECRET)
    assert ran.code == 2
    assert "`lianlian-async review user NAME` makes it" in ran.said
    for secret, problem in ((None, "is missing"), ("x" * 31, "is too short")):
        ran = here("review", "serve", LIANLIAN_REVIEW_USERS_FILE=str(path), LIANLIAN_REVIEW_SECRET=secret)
        assert ran.code == 2
        assert f"LIANLIAN_REVIEW_SECRET {problem}" in ran.said
        assert "secrets.token_urlsafe" in ran.said
        assert not secret or secret not in ran.text


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "review.example.com"])
def test_serve_to_the_network_without_tls(here: Here, tmp_path: Path, host: str) -> None:
    """It has to be said aloud that TLS stands in front."""
    ran = here("review", "serve", "--host", host, "--users", users_file(tmp_path), LIANLIAN_REVIEW_SECRET=SECRET)
    assert ran.code == 2
    assert "--behind-tls" in ran.said


def test_command_line_without_the_extra() -> None:
    """Other commands load none of it; this one says in one sentence what to install."""
    names = "{'starlette', 'jinja2', 'uvicorn', 'itsdangerous'}"
    code = f"import sys, lianlian_async.cli; print({names} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
    code = "import sys; sys.modules['starlette'] = None; sys.argv[1:] = ['review', 'serve']\nfrom lianlian_async import cli; cli.run()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'lianlian-async[review]'" in done.stderr
    assert "Traceback" not in done.stderr


# ---------------------------------------------------------------------- serving

needs_reviews = pytest.mark.skipif(
    "two_person" not in inspect.signature(LianLianClient).parameters, reason="the client holds no reviews yet"
)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


async def test_serve_without_a_journal(shell: Shell) -> None:
    """A mistyped path is said, instead of a page that serves "nothing waits" from a new and empty journal."""
    env = {"LIANLIAN_REVIEW_SECRET": SECRET, "LIANLIAN_REVIEW_USERS_FILE": str(users_file(shell.folder))}
    ran = await shell.run("review", "serve", "--port", 0, env=env)
    assert ran.code == 2
    assert "there is no journal" in ran.said
    assert not shell.journal.exists()


@needs_reviews
async def test_serve_sign_in_and_stop(shell: Shell) -> None:
    """It answers, lets chen in, and ends cleanly with status 0 when it is told to."""
    port = free_port()
    env = {"LIANLIAN_REVIEW_SECRET": SECRET, "LIANLIAN_REVIEW_USERS_FILE": str(users_file(shell.folder))}
    await make_journal(shell.journal)
    running = await shell.start("review", "serve", "--port", port, "--two-person", env=env)
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", follow_redirects=True) as browser:

        async def answers() -> httpx2.Response | None:
            try:
                return await browser.get("/")
            except httpx2.ConnectError:
                return None

        await until(lambda: running.ended or _listens(port))
        page = await answers()
        assert page is not None, (await running.end()).text
        assert "server" not in page.headers
        token = page.text.partition('name="token" value="')[2].partition('"')[0]
        page = await browser.post("/sign-in", data={"token": token, "name": "chen", "password": PASSWORD})
        assert "Held payouts" in page.text
        assert "Two different people" in page.text
        assert running.signal(signal.SIGTERM)
        ran = await running.end(20)
    assert ran.code == 0, ran.text
    assert f"http://127.0.0.1:{port}/" in ran.out
    assert ran.err == ""


@needs_reviews
async def test_serve_at_an_address_that_is_taken(shell: Shell) -> None:
    """One sentence and status 2."""
    env = {"LIANLIAN_REVIEW_SECRET": SECRET, "LIANLIAN_REVIEW_USERS_FILE": str(users_file(shell.folder))}
    await make_journal(shell.journal)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = await shell.run("review", "serve", "--port", taken.getsockname()[1], env=env)
    assert ran.code == 2
    assert "cannot be served" in ran.said


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
