"""Ensembles: finished experiments that work together as one. Members, the choice among them, the three methods."""
