"""Fuzzing: what stands behind every door that takes other people's bytes (`python3 dev.py fuzz`).

targets.py    one function a door: bytes in, silence or the one declared error out; everything else is a finding
mutate.py     a seeded mutator, so that CI needs no fuzzer for its share
resplit.py    not fuzzing but enumeration: every other message that one signature is good for
run.py        atheris over one target, for as long as somebody wants
seeds.py      writes `corpus/`, the small genuine messages and files that everything begins with
"""
