"""The parameters of an experiment: params.yaml as typed sections, and presets that change it."""
