"""The work of a run: the manifest and the recipe compared with the dataset."""
