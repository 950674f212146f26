"""The whole library on virtual time, in one thread, from one seed: what money safety is proven with.

    seed ──► plan (which faults exist, how strong) ──► world ──► trace, sightings, laws
                                                        │
        business, people ──► processes (real clients) ──┼──► wire ──► gatehouse (the simulator, its ledger)
                             on chaos journal and clock ┘      ▲
                                                               └── careless clients, on the same seeds

Nothing here is shipped. `python3 dev.py proof` runs it long, `test_simulation.py` runs a bounded part.
"""
