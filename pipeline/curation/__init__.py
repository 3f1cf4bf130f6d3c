"""Operations on a finished dataset: statistics, comparison, merging, recaptioning, export, calibration.

Everything here streams part by part and runs in one process; nothing computes features.
"""
