"""Pictures and videos as people have them: files in and out, colours, and where a frame's pixels go."""
