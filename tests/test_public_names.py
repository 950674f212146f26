"""What users may rely on: the names of the front door, pinned."""

from __future__ import annotations

import inspect

import lianlian_async


def test_public_names_are_pinned() -> None:
    """A name that comes or goes is a decision, made here and in the changelog."""
    assert sorted(lianlian_async.__all__) == [
        "BreakerOpen", "Changed", "Clock", "CommandRefused", "ConfigError", "Confirmation", "DuplicateSuspected", "Gateway", "InvalidOrder", "JournalKeys",
        "JournalUnavailable",
        "KeyRing", "LianLianClient", "LianLianError", "Limits", "Merchant", "NothingSent", "NotificationRefused",
        "Order", "OrderConflict", "OutcomeUnknown", "Payout", "Review", "Settings", "State", "Step", "SystemClock", "Timeouts",
        "__version__",
    ]  # fmt: skip


def test_every_public_name_says_what_it_is() -> None:
    """Each public class and method has a docstring of its own."""
    for name in lianlian_async.__all__:
        thing = getattr(lianlian_async, name)
        if not inspect.isclass(thing):
            continue
        assert thing.__doc__, name
        for member, function in inspect.getmembers(thing, inspect.isfunction):
            if not member.startswith("_") and function.__module__.startswith("lianlian_async"):
                assert function.__doc__, f"{name}.{member}"


def test_no_option_turns_a_check_off() -> None:
    """No public argument is named as if it could switch off verification, queries, durability or review."""
    for name in ("LianLianClient", "Merchant", "Limits", "Timeouts", "Settings", "Gateway"):
        for argument in inspect.signature(getattr(lianlian_async, name)).parameters:
            assert not any(word in argument for word in ("verify", "insecure", "skip", "unsafe", "force", "disable"))
