"""Moving sprites: a generated text-image-to-video world in which every motion is known.

``world`` defines scenes and motions, ``render`` draws frames and true flow, ``files`` writes clips with
captions, a manifest and the flow.
"""
