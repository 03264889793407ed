"""Loading of search files (searches/*.yaml) and of the spaces that they name (searches/spaces/*.yaml)."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from yoyak.config.fields import Section
from yoyak.config.validation import validate
from yoyak.config.yaml_files import read_yaml
from yoyak.search.plan import Parameter, SearchPlan
from yoyak.system.errors import YoyakError


class StageName(Section):
    """The name of a stage. The other keys of a stage override those of the file."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]


def load_search_file(path: Path) -> dict[str, SearchPlan]:
    """Read a search file.

    A space that the file names is a file of parameters in the folder `spaces` next to it. The file's own parameters
    override those of its spaces.

    Returns:
        The plan of each stage by its name, in the order of the file. A file without stages has one plan, named "".

    Raises:
        YoyakError: if a key or a value is not valid. The message names the file and the key.
    """
    values = read_yaml(path)
    if not isinstance(values, dict):
        raise YoyakError(f"{path}: expected a mapping with the keys {', '.join(SearchPlan.model_fields)}")
    stages = values.pop("stages", None)
    if stages is None:
        return {"": _make_plan(path, values, str(path))}
    if not isinstance(stages, list) or not stages or not all(isinstance(stage, dict) for stage in stages):
        raise YoyakError(f"{path}: stages: expected a list of mappings, each with a name")
    plans: dict[str, SearchPlan] = {}
    for index, stage in enumerate(stages):
        name = validate(StageName, {"name": stage.pop("name", None)}, source=f"{path}: stages.{index}").name
        if name in plans:
            raise YoyakError(f"{path}: stages: two stages have the name {name}")
        plans[name] = _make_plan(path, {**values, **stage}, f"{path}: stage {name}")
    return plans


def _make_plan(path: Path, values: dict[str, Any], source: str) -> SearchPlan:
    plan = validate(SearchPlan, values, source=source)
    parameters: dict[str, Parameter] = {}
    for name in plan.spaces:
        file = path.parent / "spaces" / f"{name}.yaml"
        if not file.is_file():
            available = ", ".join(sorted(other.stem for other in file.parent.glob("*.yaml")))
            raise YoyakError(f"{source}: spaces: there is no file {file}; available spaces: {available or 'none'}")
        # Only `parameters` come from the file; a plan needs a budget to be valid.
        parameters |= validate(
            SearchPlan, {"parameters": read_yaml(file), "budget": {"trials": 1}}, source=str(file)
        ).parameters
    return plan.model_copy(update={"parameters": parameters | plan.parameters})
