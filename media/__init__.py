"""Picture and video files: reading and writing, colours, and placement of frames."""
