"""Opens videos in a child process, which is replaced if it hangs, crashes or leaks memory."""
