"""Evaluation of finished models: statistics, and the human study that compares two models by votes."""
