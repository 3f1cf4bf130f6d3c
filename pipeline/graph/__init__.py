"""Execution of a run: its passes as Ray Data graphs, worker tasks, counters and progress."""
