"""Evaluation of finished models: so far the statistics of votes."""
