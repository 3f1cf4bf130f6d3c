"""Moving sprites: a generated text-image-to-video world in which every motion is known.

``world`` defines scenes, ``motions`` what happens in them, ``render`` draws frames and true flow, ``files`` writes
clips with captions, a manifest, the flow and what happens in each clip.
"""
