"""A Hypothesis state machine over the real client: any sequence of moves, judged by the simulation's laws.

The simulation (`tests/simulation`) draws its worlds from a seed and its faults from rates; here every move is a step that
Hypothesis chooses, so that what breaks a law is shrunk to the few moves that matter. The world, the gateway and the judge
are the simulation's own.
"""
