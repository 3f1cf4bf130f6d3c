"""The stages of the graph as plain functions of tables: probe, decode, featurize, write. No Ray in here.

Every stage returns a row for each row it was given. A row that failed carries ``stage``, ``error_class`` and
``message`` from there on and passes the later stages untouched. A row without a slot fills up a short part.
"""
