"""LianLian's instant payment gateway as a local server that tells the truth only in its ledger.

    simulator = Simulator(oid_partner=..., merchant_public_key=..., gateway_private_key=..., clock=..., faults="storm")
    async with simulator.serve() as server:
        ...                                   # point a client at server.base_url
    simulator.ledger.summary()

It shares no code with the client: it parses, signs, opens envelopes and keeps its books with code of its
own, so that one mistake cannot hide on both sides. Inside, `engine` decides (pure, no I/O), `exchange` turns
bytes into a delivery (pure), and `server` does what the delivery says on a socket.
"""

from __future__ import annotations

from .codes import RET_MSG, Endpoint
from .exchange import Delivery, Received, Way
from .faults import FAULTS, NOTICE_FAULTS, PROFILES, Fault, Faults
from .ledger import Entry, Ledger, Summary
from .script import Step
from .settings import Behaviour, Dedupe, Limits
from .simulator import Operator, Simulator

__all__ = [
    "FAULTS",
    "NOTICE_FAULTS",
    "PROFILES",
    "RET_MSG",
    "Behaviour",
    "Dedupe",
    "Delivery",
    "Endpoint",
    "Entry",
    "Fault",
    "Faults",
    "Ledger",
    "Limits",
    "Operator",
    "Received",
    "Simulator",
    "Step",
    "Summary",
    "Way",
]
