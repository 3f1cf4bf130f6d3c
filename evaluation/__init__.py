"""Evaluation of finished models: statistics, metrics of videos, and the human study that compares two by votes."""
