"""HTTP: routes, what stands before them, and what their answers look like."""
