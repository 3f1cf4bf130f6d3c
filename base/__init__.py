"""What every other room stands on: errors, typed configurations on disk, storage, weights files, the Ray session.

It imports none of the other rooms.
"""
