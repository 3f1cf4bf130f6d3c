"""What a run is to compute: the manifest and the recipe held against what a dataset already holds."""
