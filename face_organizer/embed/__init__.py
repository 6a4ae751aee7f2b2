"""The slow step: pictures and videos in, a face table out, whatever kills it on the way.

Others import `run` (the whole step), `picture` (options and outcomes) and `engine`.
"""
