"""Metrics over Korean morphemes, baselines, bootstrap intervals, and the check of a submission."""
