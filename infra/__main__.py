"""``python -m infra``: the ``motif`` command of a source tree, as jobs on a cluster run it."""

from infra.cli import main

main()
