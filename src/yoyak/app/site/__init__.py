"""The web app: the board of experiments, the pages of runs and searches, logs, and a place to try models."""
