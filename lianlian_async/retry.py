"""The only place that repeats a call by itself, and it repeats *queries* only (specification 5).

Tenacity costs more than a query's own work, so the first try is a plain one and this comes only after it
has failed. Tries and waits are bounded; the waits are jittered with the operating system's randomness.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_result, stop_after_attempt

from .clock import Clock

__all__ = ["ask_again"]

T = TypeVar("T")

_FURTHER_TRIES = 2
_FIRST_WAIT_S = 1.0


def _jittered(entropy: Callable[[int], bytes]) -> Callable[[RetryCallState], float]:
    def wait_s(state: RetryCallState) -> float:
        share = int.from_bytes(entropy(2), "big") / 0xFFFF
        return _FIRST_WAIT_S * float(2 ** (state.attempt_number - 1)) * (0.5 + share)

    return wait_s


async def ask_again(
    ask: Callable[[], Awaitable[T]],
    *,
    brought_nothing: Callable[[T], bool],
    clock: Clock,
    entropy: Callable[[int], bytes] = os.urandom,
) -> T:
    """Ask up to two more times, about 1 s and 2 s apart, until the answer brings something; the last answer counts.

    Raises whatever `ask` raises: an exception is never retried.
    """
    await clock.sleep(_FIRST_WAIT_S / 2)
    retrying = AsyncRetrying(
        stop=stop_after_attempt(_FURTHER_TRIES),
        wait=_jittered(entropy),
        retry=retry_if_result(brought_nothing),
        retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
        sleep=clock.sleep,
    )
    result: T = await retrying(ask)
    return result
