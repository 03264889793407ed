"""The section `data` of params.yaml."""

import os
from typing import Self

from pydantic import Field, model_validator

from yoyak.config.fields import Count, CountOrZero, NonEmpty, Section


class Data(Section):
    """Where the raw data is."""

    dir: NonEmpty = Field(
        description="Folder with train.csv, dev.csv and test.csv. Put your own files into data/raw and write `data/raw` here. "
        "data/sample is a small data set of our own text. A split may also be several numbered files, such as "
        "train-00000-of-00004.parquet (or .jsonl, .csv)."
    )
    folds: CountOrZero = Field(
        description="Number of folds of train.csv for cross-validation; 0 takes train.csv and dev.csv as they are. With folds, "
        "dev.csv is not used. `yoyak folds` runs an experiment for each fold."
    )
    fold: Count = Field(
        description="Fold of train.csv that becomes dev, from 1 to `folds`; the other folds are train. It has no effect if "
        "`folds` is 0."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if os.path.normpath(self.dir) in (".", "data"):  # each run would change what preprocess depends on
            raise ValueError(f"dir: {self.dir} also has the outputs of the stages; give the files a folder such as data/raw")
        if self.folds == 1:
            raise ValueError("folds: at least 2 folds are needed, or 0 for none")
        if self.folds and self.fold > self.folds:
            raise ValueError(f"fold: {self.fold} is more than data.folds ({self.folds})")
        return self
