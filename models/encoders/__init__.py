"""From pictures and sentences to what a network takes, and from latents back to pictures."""
