"""Motion of a clip: optical flow, its intensity, and the heatmap that weights the loss."""
