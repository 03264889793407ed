"""Exploration of a corpus in one streaming pass: counts over all rows, and a seeded sample of rows."""
