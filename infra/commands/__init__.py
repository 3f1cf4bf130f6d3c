"""The commands of ``motif``, one file each; ``infra.cli`` lists them."""
