"""Checkpoints and models of both families: loading, saving, adapters, memory estimates."""
