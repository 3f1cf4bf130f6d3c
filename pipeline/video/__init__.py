"""Video files: their properties (``probe``), the choice of a clip's frames (``sampling``), and decoding (``decoders``).

Files are only opened in a child process (``child``) that ``worker`` drives and can kill: native decoders hang and crash
on hostile files, and no Python timeout stops them.
"""
