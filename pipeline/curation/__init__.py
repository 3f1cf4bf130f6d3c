"""What is done with a finished dataset: tell what it holds, compare, merge, recaption, export, calibrate.

Everything here streams part by part and runs in one process; nothing computes features.
"""
