"""The imports of `dvc exp run`, for the server of `dvc_process`: to import this module is all that it is for."""

import gc

from yoyak.search import dvc_yaml

dvc_yaml.install()  # before the modules of DVC that import these functions by name

import dvc.cli  # noqa: E402
import dvc.commands.experiments.run  # noqa: E402, F401

from yoyak.search import dvc_tracking  # noqa: E402

dvc_tracking.install()
gc.freeze()  # a fork need not look through the imported modules again
