"""Hyperparameter searches: plans, Optuna studies, and trials that run as DVC experiments."""
