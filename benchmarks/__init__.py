"""Measurements, peer and ours in the same run; each file is a program that ends in one JSON line.

    python -m benchmarks.decode CLIPS_FOLDER      against decord and torchvision, a processor second
    python -m benchmarks.gpu                      all that need a CUDA device, under ten minutes: `make bench-gpu`
    python -m benchmarks.graph                    Ray's graph against a plain loop
    python -m benchmarks.heatmap                  the moving area against true flow
    python -m benchmarks.large_dataset            commands over 100,000 clips in 2,000 parts
    python -m benchmarks.memory                   2,000 clips against 200
    python -m benchmarks.nodes                    two nodes of one core against one of two
    python -m benchmarks.plan                     a dry run over a million rows
    python -m benchmarks.raft_gpu                 needs a CUDA device
    python -m benchmarks.reading                  features for training against other formats

Figures are ratios: absolute speeds belong to a machine. All but ``decode`` and ``heatmap`` count wall time: nothing
else should run beside them. With ``--save`` the line is kept in ``benchmarks/results``.
"""
