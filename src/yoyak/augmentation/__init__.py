"""Augmentation: further train rows that are made from those of train. The stage augment runs it."""
