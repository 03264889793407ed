"""Fine-tuning: the trainer, packing, pruning, and the preflight check."""
