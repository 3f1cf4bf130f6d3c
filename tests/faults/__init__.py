"""Random faults over the three journeys, drawn from a seed: ``python -m tests.faults --count 30 --seed 1``.

Each fault kills a process or a node, or disturbs the object store, while a journey runs on several Ray nodes of this
machine. The command is then run again until it succeeds, and its result is compared with that of a run that nothing
disturbed.
"""
