"""The fixtures of this folder; their types are imported by name from `client_fixtures`."""

from client_fixtures import *  # noqa: F403
