"""ROUGE over Korean morphemes, baselines, intervals, and the check of a submission."""
