"""The human study (MotiF, section 5): which of two models' videos raters prefer, and why.

A study is a folder: ``study.json`` with its pairs, gold questions and rules, and the videos under names that do not
tell the models apart. The models are called ``a`` and ``b`` inside, their names are shown in results only.
"""
