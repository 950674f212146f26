"""The fixtures of this folder: keys for the session, and the worlds of the client's own tests."""

from __future__ import annotations

from client_fixtures import *  # noqa: F403
