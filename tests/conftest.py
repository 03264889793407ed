"""What several test files share: short Korean examples, a tiny checkpoint built once a session, small params.

Heavy imports stand inside the fixtures, so that the tests of plain text never wait for torch.
"""

import copy
import csv
import functools
import gc
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from yoyak.config.params import parse_params
from yoyak.config.sections import Params

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"

DIALOGUES = (
    "#Person1#: 안녕하세요, 방 있나요?\n#Person2#: 네, 몇 분이세요?",
    "#Person1#: 오늘 저녁에 뭐 먹을까?\n#Person2#: 어제는 김치찌개를 먹었으니까 오늘은 국수 어때?\n"
    "#Person1#: 좋아. 여섯 시에 보자.",
    "#Person1#: 회의가 취소됐대.\n#Person2#: 정말?",
    "#Person1#: 이 책을 반납하려고 하는데요.\n#Person2#: 성함이 어떻게 되세요?\n#Person1#: 김민수입니다.\n"
    "#Person2#: 이틀 늦으셨네요. 연체료는 이백 원입니다.\n#Person1#: 여기 있습니다. 감사합니다.",
    "#Person1#: 비가 온다.\n#Person2#: 우산 있어?\n#Person3#: 나는 없어.",
    "#Person1#: 전화번호가 뭐예요?\n#Person2#: #PhoneNumber#입니다.",
    "#Person1#: 버스를 놓쳤어.\n#Person2#: 그럼 택시를 타고 가자. 돈은 내가 낼게.",
    "#Person1#: 축하해!\n#Person2#: 고마워.",
)
SUMMARIES = (
    "#Person1#은 #Person2#에게 방이 있는지 묻습니다.",
    "#Person1#과 #Person2#는 저녁에 국수를 먹기로 합니다.",
    "#Person1#은 회의가 취소됐다고 말합니다.",
    "#Person1#은 책을 이틀 늦게 반납하고 연체료를 냅니다.",
    "비가 오는데 #Person3#은 우산이 없습니다.",
    "#Person2#는 #Person1#에게 전화번호를 알려 줍니다.",
    "버스를 놓친 #Person1#은 #Person2#와 택시를 타기로 합니다.",
    "#Person1#은 #Person2#를 축하합니다.",
)

# Section prompt without additions: no examples, nothing masked.
WITHOUT_ADDITIONS: dict[str, Any] = {"examples": 0, "example_choice": "similar", "mask": False}

gc.disable()  # nothing is garbage while the tests are collected


# The files that take longest, in the order in which the workers of pytest-xdist take them: whoever takes such a file last
# works on alone. test_faults.py comes late, because it needs what test_pipeline.py builds.
LONGEST_FIRST = (
    "test_pipeline.py",
    "test_dvc_experiments.py",
    "test_knobs.py",
    "test_search_dvc.py",
    "test_fit_decoder_only.py",
    "test_screening.py",
    "test_endpoint.py",
    "test_resume.py",
    "test_faults.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring the longest files to the front. The order within a file stays."""
    places = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Keep what is loaded by now out of all later garbage collections.

    Libraries and tests are a million objects. CTranslate2 collects garbage for each layer, transformers for each training.
    """
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def _tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A byte-level BPE that adds no special tokens (as KoBART's), and a random BART of about ten thousand parameters."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import BartConfig, BartForConditionalGeneration, PreTrainedTokenizerFast

    torch.set_num_threads(1)  # a tiny model gains nothing from more, and waits for them on a busy machine

    special = ["<s>", "</s>", "<pad>", "<unk>", "<mask>"]
    bpe = Tokenizer(models.BPE(unk_token=None))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe.train_from_iterator(
        [*DIALOGUES, *SUMMARIES],
        trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    names = dict(zip(("bos_token", "eos_token", "pad_token", "unk_token", "mask_token"), special, strict=True))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, clean_up_tokenization_spaces=False, **names)
    config = BartConfig(
        vocab_size=len(tokenizer),
        d_model=8,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        max_position_embeddings=256,
        init_std=0.5,  # large, so that an untrained model writes something else for each dialogue
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
        decoder_start_token_id=1,
        forced_eos_token_id=1,
        dropout=0.1,
    )
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    with torch.random.fork_rng():
        torch.manual_seed(2)
        BartForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def tiny(_tiny: Path, tmp_path: Path) -> Path:
    """The tiny checkpoint's folder, a copy that a test may break."""
    return Path(shutil.copytree(_tiny, tmp_path / "tiny"))


@functools.cache
def _values() -> dict[str, Any]:
    from ruamel.yaml import YAML

    values: dict[str, Any] = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    values["tokenizer"] |= {"max_input_length": 128, "max_target_length": 48}
    values["training"] |= {"num_train_epochs": 2, "per_device_train_batch_size": 2, "precision": "float32", "logging_steps": 1}
    values["generation"] |= {"max_new_tokens": 8, "num_beams": 1, "batch_size": 4, "postprocess": "never"}
    values["score"] |= {"bootstrap_samples": 100}
    return values


@pytest.fixture
def values() -> dict[str, Any]:
    """The repository's params.yaml made small, to change at will."""
    return copy.deepcopy(_values())


@pytest.fixture
def params(values: dict[str, Any], tiny: Path) -> Params:
    """`values` as typed sections, with the tiny checkpoint."""
    values["model"]["kobart"] |= {"checkpoint": str(tiny), "revision": None}
    return parse_params(values, source="test")


def save_csv(path: Path, rows: Sequence[dict[str, str]]) -> Path:
    """`rows` as a CSV whose columns are the first row's keys."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


FOREIGN_WORDS = "KTX Netflix wifi Café 漢字 中国 会議 ひらがな カタカナ Привет мир สวัสดี مرحبا"
# Our own, after Llama 3's: it writes <s> itself, and today's date unless it is told one.
CHAT_TEMPLATE = (
    "{%- if date_string is not defined %}{%- set date_string = strftime_now('%d %b %Y') %}{%- endif %}"
    "{{- bos_token }}"
    "{%- for message in messages %}"
    "{{- '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' }}"
    "{%- if loop.first %}{{- 'Today: ' + date_string + '\n\n' }}{%- endif %}"
    "{{- message.content | trim + eos_token }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}"
)


@pytest.fixture(scope="session")
def chat_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A byte-level BPE with a chat template that puts <|begin_of_text|> before plain texts, as Llama 3's does.

    It has tokens of several scripts, and one of each byte. Shared by all tests: whoever changes it takes a deepcopy.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import LlamaConfig, PreTrainedTokenizerFast

    from yoyak.data.dialogue import LISTED_TAGS
    from yoyak.models.tokenizer_loading import load_tokenizer

    special = ["<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"]
    bpe = Tokenizer(models.BPE(unk_token=None))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(
        [*DIALOGUES, *SUMMARIES, *[FOREIGN_WORDS] * 5],
        trainers.BpeTrainer(
            vocab_size=600,
            special_tokens=special,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    bpe.post_processor = processors.TemplateProcessing(single=f"{special[0]} $A", special_tokens=[(special[0], 0)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, clean_up_tokenization_spaces=False, bos_token=special[0], eos_token=special[1]
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    folder = tmp_path_factory.mktemp("chat") / "tokenizer"
    tokenizer.save_pretrained(folder)
    LlamaConfig(vocab_size=len(tokenizer)).save_pretrained(folder)
    return load_tokenizer(str(folder), None, LISTED_TAGS, pad_with_eos=True)


@pytest.fixture(scope="session")
def qwen3() -> Any:
    """Qwen3's own tokenizer, where ../shared has it."""
    from yoyak.data.dialogue import LISTED_TAGS
    from yoyak.models.tokenizer_loading import load_tokenizer

    folder = SHARED / "tokenizers" / "qwen3-4b"
    if not folder.is_dir():
        pytest.skip("no ../shared/tokenizers")
    return load_tokenizer(str(folder), None, LISTED_TAGS, pad_with_eos=True)


def generate_with_transformers(
    model: Any, tokenizer: Any, ids: Sequence[list[int]], dialogues: Sequence[str], settings: Any
) -> list[Any]:
    """What the backend `transformers` writes for rows of token ids."""
    from yoyak.inference.backends.transformers import TransformersWriter
    from yoyak.inference.decoding import generate
    from yoyak.models.families.base import LoadedModel

    writer = TransformersWriter(LoadedModel("test", model, tokenizer), settings)
    return generate(writer, ids, dialogues, settings=settings, progress="test")


def load_trained(folder: Path, params: Params | None = None) -> tuple[Any, Any]:
    """The model and tokenizer of a folder that training wrote, of whatever family."""
    from yoyak.models.families.lookup import family_of_folder

    loaded = family_of_folder(folder).load_trained(folder, params)
    return loaded.model, loaded.tokenizer


def batch_encoders(family: str, tokenizer: Any, lengths: Any, prompt: Any, test_rows: Sequence[Any] = ()) -> Any:
    """For each split, the function with which the stage tokenize encodes a batch."""
    from types import SimpleNamespace

    from yoyak.models.families.lookup import family_named

    sections: Any = SimpleNamespace(tokenizer=lengths, prompt=prompt)
    return family_named(family).batch_encoders(tokenizer, sections, test_rows)


def encode_for_prediction(family: str, rows: Sequence[Any], tokenizer: Any, lengths: Any, prompt: Any) -> list[list[int]]:
    """What the model reads for rows when predict runs; the rows themselves decide whether prompts name topics."""
    from types import SimpleNamespace

    from yoyak.data.prompts import uses_topic
    from yoyak.models.families.base import LoadedModel
    from yoyak.models.families.lookup import family_named

    sections: Any = SimpleNamespace(tokenizer=lengths, prompt=prompt)
    loaded = LoadedModel(family, None, tokenizer)
    return [row.ids for row in family_named(family).encode(rows, loaded, sections, names_topic=uses_topic(prompt, rows))]
