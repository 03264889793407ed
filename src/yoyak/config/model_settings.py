"""yoyak.json in a model's folder: how the model's input is made, so that the folder can be used without a repository."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field

from yoyak.config.fields import NonEmpty, Section
from yoyak.config.generation_section import Generation
from yoyak.config.moved_keys import without_old_keys
from yoyak.config.sections import FamilyName, Hardware, Params, Preprocess, Prompt, Tokenizer
from yoyak.config.validation import validate
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import read_json, write_json

SETTINGS_FILE = "yoyak.json"
FORMAT = 1  # of the file; a change that older versions cannot read gets another number
# Of a family without prompts.
UNREAD_PROMPT = Prompt(style="structured", system=None, topic="never", examples=0, example_choice="similar", mask=True)


class Frame(Section):
    """The text around a cleaned dialogue. The tokenizer's ids of all of it, without special tokens added, are the input."""

    before: str
    after: str


class ModelSettings(Section):
    """The content of yoyak.json."""

    format: Literal[1] = Field(description="Format of this file.")
    family: FamilyName
    preprocess: Preprocess
    tokenizer: Tokenizer
    prompt: Prompt | None = Field(description="Section prompt; null if the family has no prompt.")
    names_topic: bool | None = Field(description="Whether prompts name the topic; null if the family has no prompt.")
    clean_up: list[list[str]] | None = Field(
        description="Pairs of a regular expression and its replacement; in this order they turn a raw line into a cleaned one. "
        "Null if regular expressions cannot do it (preprocess.noise: aggressive, or other speaker tags)."
    )
    input: Frame | None = Field(description="The text around a dialogue; null if the input is not a text.")
    generation: Generation | None = Field(default=None, description="Section generation; only in a package.")
    backend: NonEmpty | None = Field(default=None, description="The backend that predict chose; only in a package.")
    postprocess: bool | None = Field(default=None, description="Whether predict repaired ends of summaries; only in a package.")

    def write(self, folder: Path) -> None:
        # The tokenizer beside this file has its new tokens already.
        write_json(folder / SETTINGS_FILE, self.model_dump(exclude_unset=True, exclude={"tokenizer": {"new_tokens"}}))

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """The settings in a model's folder, or None if it has no such file.

        Raises:
            YoyakError: if the file is damaged, or written by a version of yoyak with another format.
        """
        path = folder / SETTINGS_FILE
        if not path.is_file():
            return None
        values: Any = read_json(path)
        if isinstance(values, dict) and values.get("format") != FORMAT:
            raise YoyakError(f"{path}: its format is {values.get('format')}, but this version of yoyak reads format {FORMAT}")
        values = without_old_keys(values)
        if isinstance(values.get("generation"), dict):  # an older package does not have the newest keys, which are off then
            off = Generation.plain(max_new_tokens=1, num_beams=1).model_dump()
            stated = values["generation"]
            if isinstance(stated.get("consensus"), dict):
                stated = stated | {"consensus": off["consensus"] | stated["consensus"]}
            values = values | {"generation": off | stated}
        if isinstance(values, dict) and isinstance(values.get("tokenizer"), dict):
            values = values | {"tokenizer": values["tokenizer"] | {"new_tokens": 0}}
        return validate(cls, values, source=str(path))

    def params(self, folder: Path) -> Params:
        """Params for a Summarizer. Without a section generation, beams and length are those of generation_config.json."""
        generation = self.generation
        if generation is None:
            path = folder / "generation_config.json"
            stated = read_json(path) if path.is_file() else {}
            generation = Generation.plain(
                max_new_tokens=stated.get("max_new_tokens", self.tokenizer.max_target_length),
                num_beams=stated.get("num_beams", 1),
            )
        return Params.model_construct(
            preprocess=self.preprocess,
            tokenizer=self.tokenizer,
            prompt=self.prompt or UNREAD_PROMPT,
            generation=generation,
            hardware=Hardware(cpu_threads=None, portable=False, processes=1, hosts=1),
        )
