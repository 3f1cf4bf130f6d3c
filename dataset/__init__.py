"""The feature dataset on disk: plain Parquet, one folder per artifact, parts with the same clips in the same order.

``identity`` (ids and fingerprints), ``catalog`` (dataset.json), ``parts`` (files, columns and tensors), ``reading``
(features for training), ``view`` (artifacts + filter), ``lock``. Nothing here decodes or computes.
"""
