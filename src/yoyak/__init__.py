"""yoyak (요약): train, predict and score Korean dialogue summarizers as one DVC pipeline."""

__version__ = "0.1.0"
