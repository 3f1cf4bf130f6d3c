"""From dataset views to batches: one global order of clips for any number of workers, resumed at any step."""
