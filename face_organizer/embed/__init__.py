"""The slow step: pictures and videos in, a face table out, whatever kills it on the way."""

__all__ = ["engine", "picture", "pictures", "resume", "rows", "run", "shards", "worker"]
