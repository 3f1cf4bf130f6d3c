"""Moving sprites as an exact test: did what the prompt names move, and as the prompt says? No network is needed.

``tracking`` finds each shape in each frame, ``score`` compares that with what should happen, ``summary`` makes rates of
it, ``controls`` are videos whose score is known, ``evaluate`` samples and scores models.

Axes: ``t`` frames, ``k`` shapes of a scene, ``h w`` rows and columns of a frame shrunk to 64 pixels on its short side,
``y x`` positions of a centre, also outside of the frame. Lengths are in short sides of the frame.
"""
