"""VideoCrafter2's checkpoint (512 x 320) as a model folder.

``names`` tells by rule what a tensor is called there and here, ``checkpoint`` reads the file and holds it against what
is expected, ``convert`` writes the folder.
"""
