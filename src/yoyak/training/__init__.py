"""Fine-tuning: the trainer, its loss and order of rows, checkpoints, trackers, reports to a search, and the preflight check."""
