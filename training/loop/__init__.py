"""What happens at every step: loss, gradients, optimiser, moving average, over one worker or many."""
