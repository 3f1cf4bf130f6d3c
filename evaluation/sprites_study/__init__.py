"""A study of loss weightings and image conditions on moving sprites: the paper's ablations, scored exactly.

``arms`` are what is compared, ``sizes`` how large models and data are, ``study`` the plan and its folder, ``data`` the
videos and features, ``run`` one training run with its evaluation, ``on_ray`` many of them at once, ``results`` and
``report`` what comes out.
"""
