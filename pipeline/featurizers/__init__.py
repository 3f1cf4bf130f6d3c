"""The features of clips and captions, one file each.

A featurizer is a frozen dataclass of its settings with three methods: ``identity`` (everything that changes the
values), ``columns`` (what it writes) and ``load`` (the function itself, on a device). To add one, write a file with
such a class and name it in a recipe; nothing else changes.
"""
