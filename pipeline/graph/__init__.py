"""How a run computes: its passes as Ray Data graphs, and what their processes do, count and show."""
