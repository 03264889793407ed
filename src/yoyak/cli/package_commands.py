"""The command that gives a trained model to others: package."""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from yoyak.cli.command import Command
from yoyak.cli.trained_model import MODELS, PREDICT_REPORT, SCORES
from yoyak.system.errors import YoyakError

if TYPE_CHECKING:
    from yoyak.config.sections import Params

WORKSPACE = "workspace"  # as DVC calls it


@dataclass(frozen=True)
class _Trained:
    """A trained model, and the files of its run that a package needs."""

    model: Path
    params: "Params"
    predict_report: Path
    scores: Path


@contextmanager
def _trained_model(run: str) -> Iterator[_Trained]:
    """The model of the workspace, or of an experiment or commit, which is copied from DVC's cache for as long as the block."""
    if run == WORKSPACE:
        from yoyak.config.params import load_params

        params = load_params()
        if params.model.family == "endpoint":
            raise YoyakError("model.family is endpoint: its model is on a server, so there is nothing to package")
        yield _Trained(MODELS / params.model.family, params, PREDICT_REPORT, SCORES)
        return
    from yoyak.app.model_source import fetch_experiment
    from yoyak.reports.runs import Run

    with tempfile.TemporaryDirectory(prefix="yoyak-package-") as temporary:
        folder = Path(temporary)
        source, files = fetch_experiment(run, Path(), folder), Run.find(Path(), run)
        assert source.params is not None
        trained = _Trained(source.folder, source.params, folder / "predict.json", folder / "scores.json")
        for path, kept in ((PREDICT_REPORT, trained.predict_report), (SCORES, trained.scores)):
            kept.write_text(files.read(str(path)), encoding="utf-8")
        yield trained


def _default_output(run: str, params: "Params", form: str) -> Path:
    from yoyak.reports.run_page.run_page import page_path

    name = params.model.family if run == WORKSPACE else page_path(run).stem
    return Path("packages") / (name if form == "transformers" else f"{name}-{form}")


def _package(args: argparse.Namespace) -> None:
    if args.format == "transformers" and (args.converter or args.type != "auto"):
        raise YoyakError("--converter and --type are for --format gguf; leave them out")
    if args.format == "gguf":
        from yoyak.inference.gguf import find_converter

        converter = find_converter(args.converter)  # before torch is imported and a model is copied
    with _trained_model(args.run) as trained:
        output = args.output or _default_output(args.run, trained.params, args.format)
        if output.exists() and not (output / "yoyak.json").is_file():
            raise YoyakError(f"{output}: exists and is no package; name another folder by --output")

        from functools import partial

        from yoyak.inference.packaging import write_gguf_package, write_package
        from yoyak.system.atomic import atomic_folder

        write = write_package
        if args.format == "gguf":
            write = partial(write_gguf_package, converter=converter, kind=args.type)
        with atomic_folder(output) as folder:
            write(
                trained.model,
                folder,
                params=trained.params,
                predict_report=trained.predict_report,
                scores=trained.scores,
            )
    use = "code that runs it with transformers alone" if args.format == "transformers" else "commands that run it with Ollama"
    print(f"{output}: package; {output / 'README.md'} has its scores and {use}")


def _add_package_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run",
        nargs="?",
        default=WORKSPACE,
        metavar="RUN",
        help="an experiment, a branch, a tag, a commit, or `workspace`: the files here (default: workspace)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="folder to write; an older package there is replaced (default: packages/ and model.family, or the name of RUN)",
    )
    parser.add_argument(
        "--format",
        choices=("transformers", "gguf"),
        default="transformers",
        metavar="FORMAT",
        help="transformers, or gguf for llama.cpp and Ollama, for decoder-only models (default: %(default)s)",
    )
    parser.add_argument(
        "--converter",
        metavar="PATH",
        help="llama.cpp's convert_hf_to_gguf.py, its folder, or a command that runs it (default: YOYAK_GGUF_CONVERTER)",
    )
    parser.add_argument(
        "--type",
        choices=("auto", "f32", "f16", "bf16", "q8_0"),
        default="auto",
        metavar="TYPE",
        help="numbers of a gguf file: auto, f32, f16, bf16 or q8_0 (default: %(default)s, 16 bits)",
    )


COMMANDS = (
    Command(
        name="package",
        summary="Write the trained model as a folder for transformers.",
        description="Write the trained model of the workspace, or of an experiment or commit, as a folder for others: weights "
        "(an adapter is merged into its base), tokenizer, decoding settings, the settings of its input (yoyak.json), hashes, "
        "and a model card with the scores and code that runs it with transformers alone. The model of an experiment comes from "
        "DVC's cache; the workspace stays as it is. The same model gives the same bytes. With --format gguf llama.cpp's "
        "converter writes model.gguf, and a Modelfile for Ollama comes with it.",
        examples=(
            "yoyak package",
            "yoyak package beam1",
            "yoyak package HEAD~1 --output packages/submission-3",
            "yoyak package qlora1 --format gguf --converter llama.cpp",
        ),
        run=_package,
        add_arguments=_add_package_arguments,
    ),
)
