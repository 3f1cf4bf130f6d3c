"""The heatmap of a clip's motion: from optical flow to the weights of the loss."""
