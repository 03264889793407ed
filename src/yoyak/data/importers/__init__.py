"""The formats that `yoyak import` reads. To add one: write a module here (see `base.Importer`) and add its name to FORMATS.

`--format auto` takes the first format of FORMATS that recognizes a file, so the special ones come before the general ones.
"""

FORMATS = (
    "datasets",
    "parquet",
    "xlsx",
    "nikl",
    "aihub",
    "dialogsum",
    "samsum",
    "json",
    "kakaotalk",
    "csv",
    "transcript",
)
