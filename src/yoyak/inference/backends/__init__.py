"""Backends write summaries with a loaded model. `generation.backend: NAME` in params.yaml means the module NAME.py here
(with _ for -).

To add a backend, write NAME.py with a subclass of `base.Backend` and `BACKEND = YourBackend()`, and add NAME to `BackendName`
in yoyak/config. The list is in the order of preference: `auto` takes the first backend that can be used.
"""
