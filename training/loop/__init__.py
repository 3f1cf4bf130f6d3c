"""The training step: loss, gradients, optimiser, moving average, on one worker or many."""
