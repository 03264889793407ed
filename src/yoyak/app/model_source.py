"""Where a served model comes from: a folder, an archive of a package, or an experiment of the repository.

What needs torch is imported inside the functions, so that a wrong name shows at once.
"""

import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from yoyak.config.params import Params, load_params, parse_change, parse_params
from yoyak.config.validation import validate
from yoyak.config.yaml_files import parse_yaml, read_yaml
from yoyak.inference.decisions import Decisions
from yoyak.inference.model_folder import repository_of, settings_of
from yoyak.system.checksums import CHECKSUMS_FILE
from yoyak.system.errors import YoyakError
from yoyak.system.integrity import verify_checksums

if TYPE_CHECKING:
    from yoyak.inference.shared_model import SharedModel

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")
READ_SECTIONS = ("preprocess", "tokenizer", "prompt", "generation", "hardware")  # that a trained model is used with


@dataclass(frozen=True)
class ModelSource:
    """A model on the disk.

    Attributes:
        folder: with its files.
        name: for clients.
        params, decisions: of an experiment; None for what belongs to the folder (`settings_of`).
        root: the repository of an experiment; None for the nearest one above the folder.
    """

    folder: Path
    name: str
    params: Params | None = None
    decisions: Decisions | None = None
    root: Path | None = None

    def check(self) -> None:
        """Refuse what cannot be served, before anything slow happens.

        Raises:
            YoyakError: if the folder has no trained model, a file is damaged, or the model is behind an API.
        """
        from yoyak.models.families.lookup import family_of_folder

        family = family_of_folder(self.folder)
        if family.name == "endpoint":
            raise YoyakError(
                f"{self.folder}: this model is behind an API already; send requests there, or serve a trained model"
            )
        if (self.folder / CHECKSUMS_FILE).is_file():
            verify_checksums(self.folder)

    def load(self, changes: Sequence[str]) -> "SharedModel":
        """Load the model.

        Args:
            changes: params to use instead of the model's own, each as "section.key=value".

        Raises:
            YoyakError: if the model cannot be loaded, or a change is not possible.
        """
        from transformers.utils import logging

        from yoyak.ensembles.live_members import connect
        from yoyak.inference.shared_model import SharedModel
        from yoyak.inference.summarizer import Summarizer

        logging.disable_progress_bar()
        settings = settings_of(self.folder, self.params, self.decisions)
        params = change_params(settings.params, changes)
        summarizer = Summarizer.load(self.folder, params=params, decisions=settings.decisions)
        if members := connect(summarizer, self.root or repository_of(self.folder)):
            if changes:
                raise YoyakError(
                    f"{changes[0]}: has no effect on a consensus; each member writes with the settings of its experiment"
                )
            _ = members.models  # now, so that no request waits for them
        return SharedModel(summarizer)


def change_params(params: Params, changes: Sequence[str]) -> Params:
    """Params with some values changed. Only sections that a trained model is used with.

    Raises:
        YoyakError: naming the change that is unknown, has no effect, or has a wrong value.
    """
    sections: dict[str, Any] = {}
    for change in changes:
        name, value = parse_change(change)
        section, *path, key = name.split(".")
        if section not in READ_SECTIONS:
            raise YoyakError(f"{name}: has no effect on a trained model; change one of {', '.join(READ_SECTIONS)}")
        values = sections.setdefault(section, getattr(params, section).model_dump())
        for part in path:
            values = values[part]
        values[key] = value
    source = " ".join(f"-S {change}" for change in changes)
    changed: dict[str, BaseModel] = {
        section: validate(type(getattr(params, section)), values, source=source) for section, values in sections.items()
    }
    return params.model_copy(update=changed)


@contextmanager
def open_source(model: str, root: Path) -> Iterator[ModelSource]:
    """The model that a user names. Its temporary files are deleted at the end.

    Args:
        model: a folder, an archive, or an experiment (or another git revision) of the repository in `root`.
        root: the current folder.

    Raises:
        YoyakError: if there is no such model.
    """
    path = Path(model)
    if path.is_dir():
        yield ModelSource(path, path.absolute().name)
    elif path.is_file():
        if not path.name.endswith(ARCHIVES):
            raise YoyakError(f"{path}: is no folder and no archive ({', '.join(ARCHIVES)}) of a package")
        with tempfile.TemporaryDirectory(prefix="yoyak-serve-") as temporary:
            yield ModelSource(unpack(path, Path(temporary)), _stem(path))
    elif len(path.parts) > 1 or path.name.endswith(ARCHIVES) or not (root / "params.yaml").is_file():
        raise YoyakError(f"{path}: no such folder or archive; name a folder that training or `yoyak package` wrote")
    else:
        with tempfile.TemporaryDirectory(prefix="yoyak-serve-") as temporary:
            yield fetch_experiment(model, root, Path(temporary))


def default_model(root: Path) -> str:
    """The folder of the workspace's trained model.

    Raises:
        YoyakError: if the current folder is no repository, or params choose a model behind an API.
    """
    if not (root / "params.yaml").is_file():
        raise YoyakError("params.yaml: not in this folder; name the folder of a model, such as: yoyak serve packages/kobart")
    family = load_params(root / "params.yaml").model.family
    if family == "endpoint":
        raise YoyakError("model.family is endpoint: this model is behind an API already; send requests there")
    return f"models/{family}"


def _stem(path: Path) -> str:
    suffix = next(suffix for suffix in ARCHIVES if path.name.endswith(suffix))
    return path.name.removesuffix(suffix) or "model"


def unpack(archive: Path, target: Path) -> Path:
    """Unpack an archive and return the folder in it that has the model.

    Raises:
        YoyakError: if the archive is damaged, has files outside its folder, or has not one model.
    """
    try:
        if archive.name.endswith(".zip"):
            with zipfile.ZipFile(archive) as zipped:
                zipped.extractall(target)  # which keeps every file inside the target
        else:
            with tarfile.open(archive) as tarred:
                _extract(tarred, target)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError, RuntimeError) as error:
        raise YoyakError(f"{archive}: cannot be unpacked ({error}); make the archive again") from None
    folders = [path.parent for path in target.rglob("ensemble.json")]  # the models of its members are in folders below
    folders = folders or [path.parent for name in ("config.json", "adapter_config.json") for path in target.rglob(name)]
    if len(set(folders)) != 1:
        raise YoyakError(f"{archive}: has {len(set(folders))} models; expected the folder of one package")
    return folders[0]


def _extract(tarred: tarfile.TarFile, target: Path) -> None:
    """Write the files of an archive below `target`. Python before 3.11.4 has no `extractall(filter="data")`.

    Raises:
        TarError: if a member leads outside of `target`, or is neither a file nor a folder.
    """
    root = target.resolve()
    for member in tarred:
        place = (root / member.name).resolve()
        if not place.is_relative_to(root) or not (member.isreg() or member.isdir()):
            raise tarfile.TarError(f"{member.name!r} is no file of its folder")
        if member.isdir():
            place.mkdir(parents=True, exist_ok=True)
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        content = tarred.extractfile(member)
        assert content
        with content, open(place, "wb") as file:
            shutil.copyfileobj(content, file)


def filled(values: Any, others: Any) -> Any:
    """`values` with the keys of `others` that it lacks, in all sections."""
    if not isinstance(values, dict) or not isinstance(others, dict):
        return values
    return {**others, **{key: filled(value, others.get(key)) for key, value in values.items()}}


def fetch_experiment(name: str, root: Path, target: Path) -> ModelSource:
    """Get the model of an experiment from DVC's cache, with its params and what its predict stage decided.

    Raises:
        YoyakError: if there is no such experiment, or its model is not in the cache.
    """
    from yoyak.reports.runs import Run

    run = Run.find(root, name)
    # An older experiment lacks keys that came later. They are off in params.yaml, or say nothing about a trained model.
    values = filled(parse_yaml(run.read("params.yaml")), read_yaml(root / "params.yaml"))
    params = parse_params(values, source=f"{name}: params.yaml")
    family = params.model.family
    if family == "endpoint":
        raise YoyakError(f"{name}: its model is behind an API already; send requests there")
    folder = target / family
    run.download(f"models/{family}", folder)
    decisions = Decisions()
    with suppress(YoyakError):  # an experiment without predict: nothing is decided
        report = run.read("metrics/predict.json")
        (target / "predict.json").write_text(report, encoding="utf-8")
        decisions = Decisions.read(target / "predict.json")
    return ModelSource(folder, name, params, decisions, root)
