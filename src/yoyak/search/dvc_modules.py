"""What the server of `dvc_process` imports: the modules of `dvc exp run`, with our shortcuts, and DVC's main function."""

import gc

from yoyak.search import dvc_yaml

dvc_yaml.install()  # before the modules of DVC that import these functions by name

import dvc.commands.experiments.run  # noqa: E402, F401
from dvc.cli import main  # noqa: E402

from yoyak.search import dvc_tracking  # noqa: E402

__all__ = ["main"]

dvc_tracking.install()
gc.freeze()  # a fork need not look through the imported modules again
