"""Candidates of a consensus from several instructions: what is asked, by which family, and that work continues after a kill."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import DIALOGUES, ROOT
from tests.inference.test_consensus import consensus
from tests.inference.test_decoding import settings
from yoyak.config.generation_section import INSTRUCTIONS
from yoyak.config.params import parse_params
from yoyak.config.sections import Params
from yoyak.config.yaml_files import read_yaml
from yoyak.inference.dialogue_reading import DialogueReader
from yoyak.inference.long_dialogues import WindowedDialogue, model_inputs
from yoyak.inference.outputs import Output
from yoyak.inference.prompt_inputs import PromptInputs, input_of
from yoyak.inference.summarizer import Summarizer
from yoyak.models.causal_lm import load_merged
from yoyak.models.families.base import LoadedModel
from yoyak.models.families.lookup import family_named
from yoyak.models.tokenizer_loading import load_tokenizer
from yoyak.system.errors import YoyakError
from yoyak.system.resumable import BatchStore

LLAMA = ROOT / "models/base/llama-tiny"
OWN = ["누가 무엇을 하나요?", "한 문장으로 요약하세요."]
ROWS = [{"fname": f"dev_{number}", "dialogue": text, "topic": ""} for number, text in enumerate(DIALOGUES[:2])]


def params_with(family: str = "qlora", *, max_input_length: int = 200, **generation: Any) -> Params:
    values: Any = read_yaml(ROOT / "params.yaml")
    values["model"]["family"] = family
    values["model"]["ensemble"]["members"] = ["a" * 40, "b" * 40, "c" * 40]
    values["tokenizer"]["max_input_length"] = max_input_length
    method = generation.pop("method", None)
    if method:
        values["model"]["ensemble"]["method"] = method
    changes = generation.pop("consensus")
    values["generation"] |= {
        "max_new_tokens": 8,
        "num_beams": 1,
        "postprocess": "never",
        "backend": "transformers",
    } | generation
    values["generation"]["consensus"] |= changes
    return parse_params(values, source="test")


def prompts_of(*instructions: str, candidates: int | None = None, **others: Any) -> dict[str, Any]:
    return {"source": "prompts", "candidates": candidates or len(instructions), "instructions": [*instructions], **others}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"consensus": {"candidates": 1, "source": "beams"}}, r"candidates: 1 switches the consensus off, so source: beams"),
        (
            {"consensus": {"candidates": 1, "source": "dropout"}},
            r"so source: dropout would have no effect; set candidates to 2",
        ),
        ({"consensus": {"candidates": 1, "source": "prompts"}}, r"so source: prompts would have no effect"),
        ({"do_sample": True, "consensus": {"weights": "probability"}}, r"candidates: 1 .* so weights: probability would have"),
        ({"consensus": prompts_of(*OWN, "셋째.", candidates=2)}, r"candidates: 2 leave out the last of 3 instructions; set 3"),
        ({"consensus": prompts_of(*OWN, candidates=3)}, r"candidates: 3 are more than the 2 instructions; without"),
        (
            {"consensus": prompts_of(candidates=6)},
            r"candidates: 6 are more than the 5 instructions; without generation.do_samp",
        ),
        ({"consensus": prompts_of("같다.", "같다.")}, r"instructions: one stands there twice"),
        ({"consensus": prompts_of("짧게.", " ")}, r"generation.consensus.instructions.1: string should match"),
        ({"family": "kobart", "consensus": prompts_of(*OWN)}, r"source: prompts: an encoder-decoder has no prompts; choose"),
        (
            {"family": "ensemble", "method": "average_probabilities", "consensus": prompts_of(*OWN)},
            r"source: prompts: an encoder-decoder has no prompts",
        ),
        (
            {"family": "endpoint", "consensus": prompts_of(*OWN, weights="probability")},
            r"generation.consensus.weights: probability: endpoint gives no probability of a text; set auto or uniform",
        ),
        ({"family": "endpoint", "consensus": {"candidates": 3, "source": "dropout"}}, r"source: an API gives no dropout"),
        (
            {"backend": "vllm", "consensus": prompts_of(*OWN, weights="probability")},
            r"weights: probability: vllm gives no probability of a text",
        ),
    ],
)
def test_what_cannot_work_is_said_before_any_work(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(YoyakError, match=message):
        params_with(**changes)


def test_more_candidates_than_instructions_are_drawn() -> None:
    drawn = params_with(do_sample=True, consensus=prompts_of(*OWN, candidates=4)).generation.consensus
    assert [drawn.instruction_of(number) for number in range(4)] == OWN * 2
    assert [consensus(5, "prompts").instruction_of(number) for number in range(5)] == [None, *INSTRUCTIONS[1:]]


def test_a_family_without_prompts_says_so_where_params_do_not_name_it() -> None:
    with pytest.raises(YoyakError, match="the family kobart has no prompts"):
        family_named("kobart").encode_asking(
            None, [], LoadedModel("kobart", None, None), params_with(consensus={}), names_topic=False
        )


@pytest.fixture(scope="module")
def llama() -> LoadedModel:
    tokenizer = load_tokenizer(str(LLAMA), None, (), pad_with_eos=True)
    return LoadedModel("qlora", load_merged(str(LLAMA), tokenizer), tokenizer)


def summarizer_of(llama: LoadedModel, params: Params) -> Summarizer:
    return Summarizer(llama, family_named("qlora"), params)


def test_each_candidate_reads_its_instruction(llama: LoadedModel) -> None:
    params = params_with(consensus=prompts_of(*OWN))
    (item,) = model_inputs(summarizer_of(llama, params).encode(ROWS[:1]))
    assert isinstance(item, PromptInputs) and len(item) == max(map(len, item.inputs))
    texts = [llama.tokenizer.decode(input_of(item, number)) for number in range(2)]
    for own, other, text in zip(OWN, reversed(OWN), texts, strict=True):
        assert (
            own in text and other not in text and "주제에 대한" not in text and ROWS[0]["dialogue"].split(": ")[1][:5] in text
        )


def test_a_long_dialogue_is_read_in_windows_with_each_instruction(llama: LoadedModel) -> None:
    row = {"fname": "long", "dialogue": "\n".join([ROWS[0]["dialogue"]] * 12), "topic": ""}
    params = params_with(max_input_length=120, long_dialogues="windows", consensus=prompts_of(*OWN))
    reader = DialogueReader(llama, family_named("qlora"), params, None)
    (item,) = reader.encode([row], names_topic=False)
    assert isinstance(item, WindowedDialogue) and len(item.parts) > 1
    assert all(len(one) <= 120 for part in model_inputs([item]) for one in part.inputs)


@pytest.mark.parametrize("weights", ["auto", "probability"])
def test_the_candidates_of_several_prompts_and_a_kill(llama: LoadedModel, tmp_path: Path, weights: str) -> None:
    params = params_with(batch_size=1, consensus=prompts_of(*OWN, weights=weights))

    def write() -> list[Output]:
        torch.manual_seed(0)
        summarizer = summarizer_of(llama, params)
        return summarizer.write(summarizer.encode(ROWS), ROWS, progress="test", kept=BatchStore(tmp_path / "kept.jsonl"))

    whole = write()
    kept = (tmp_path / "kept.jsonl").read_text().splitlines(keepends=True)
    assert len(kept) == 2
    (tmp_path / "kept.jsonl").write_text(kept[0])
    again = write()
    assert [output.text for output in again] == [output.text for output in whole]
    assert [[*map(tuple, output.candidates)] for output in again] == [[*map(tuple, output.candidates)] for output in whole]
    plain = [_written_alone(llama, instruction) for instruction in OWN]
    for row, output in enumerate(whole):
        assert {one.text for one in output.candidates} == {texts[row] for texts in plain if texts[row]} or not output.text
    equal = {one.weight for output in whole for one in output.candidates} <= {0.5, 1.0}
    assert equal == (weights == "auto")


def _written_alone(llama: LoadedModel, instruction: str) -> list[str]:
    """What the model writes with one instruction, without a consensus."""
    params = params_with(batch_size=1, consensus={})
    encoded = family_named("qlora").encode_asking(instruction, ROWS, llama, params, names_topic=False)
    return [output.text for output in summarizer_of(llama, params).write(encoded, ROWS, progress="test")]


def test_settings_without_a_consensus_read_one_prompt(llama: LoadedModel) -> None:
    (item,) = model_inputs(summarizer_of(llama, params_with(consensus={"instructions": OWN})).encode(ROWS[:1]))
    assert not isinstance(item, PromptInputs)
    assert not settings().consensus.is_on
