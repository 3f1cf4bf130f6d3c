"""Video files: what they hold (``probe``), which frames a clip takes (``sampling``), and those frames (``decoders``).

Whatever opens a file runs in a child process that can be killed (``child``), driven by ``worker``: native decoders
hang and crash on hostile files, and no Python timeout stops them.
"""
