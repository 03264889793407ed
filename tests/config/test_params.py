"""params.yaml: all errors at once, by dotted name, and no silent conversion of values."""

import copy
import io
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from yoyak.config.params import load_params, parse_params
from yoyak.config.sections import Params
from yoyak.system.errors import YoyakError

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "params.yaml").read_text(encoding="utf-8")
VALUES: dict[str, Any] = YAML(typ="safe", pure=True).load(TEXT)

# Users' params.yaml files, queued experiments and scripts depend on these names. A change here breaks them.
SECTIONS = {
    "data": "dir folds fold",
    "preprocess": "noise person_tags max_rejected",
    "model": (
        "family kobart.checkpoint kobart.revision kobart.decoder_layers qlora.checkpoint qlora.revision qlora.quantization "
        "qlora.double_quantization qlora.attention qlora.padding_free qlora.offload_folder endpoint.provider endpoint.base_url "
        "endpoint.model endpoint.tokenizer endpoint.extra_body endpoint.price_per_million_input "
        "endpoint.price_per_million_output endpoint.budget endpoint.requests_per_minute endpoint.max_in_flight "
        "endpoint.timeout endpoint.max_retries ensemble.method ensemble.members ensemble.utility ensemble.facts "
        "ensemble.selection ensemble.keep_if ensemble.halvings"
    ),
    "tokenizer": "max_input_length max_target_length truncation special_tokens new_tokens",
    "prompt": "style system topic examples example_choice mask",
    "augment": (
        "seed speaker_swap.rate noise.rate noise.punctuation noise.deletion noise.swap noise.spacing noise.typo "
        "turn_dropout.rate turn_dropout.share templates.rate paraphrase.rate paraphrase.of back_translation.rate "
        "back_translation.of back_translation.by back_translation.pivots synthesize.rate synthesize.examples "
        "pseudo_label.rate pseudo_label.dialogues pseudo_label.model relabel.rate relabel.originals "
        "translator.checkpoint translator.revision "
        "translator.back_checkpoint translator.back_revision translator.korean translator.num_beams translator.batch_size "
        "writer.source writer.checkpoint writer.revision writer.quantization writer.max_new_tokens writer.temperature "
        "writer.top_p writer.batch_size filters.rouge_min filters.rouge_max filters.length_min "
        "filters.length_max filters.language filters.near_duplicate"
    ),
    "pretrain": (
        "num_train_epochs texts dialogues mask_ratio poisson_lambda permute_turns mask_speakers method "
        "per_device_train_batch_size gradient_accumulation_steps learning_rate warmup_steps optim gradient_checkpointing "
        "precision save_steps logging_steps full_determinism seed"
    ),
    "training": (
        "objective.name objective.r_drop_alpha objective.r3f_lambda objective.r3f_epsilon objective.reward_weight "
        "objective.reward_start objective.reward_samples objective.tag_weight objective.unlikelihood "
        "num_train_epochs per_device_train_batch_size per_device_eval_batch_size gradient_accumulation_steps "
        "learning_rate lr_scheduler_type lr_scheduler_kwargs warmup_steps weight_decay label_smoothing_factor "
        "max_grad_norm optim adam_beta1 adam_beta2 adam_epsilon train_sampling_strategy "
        "gradient_checkpointing precision metric_for_best_model predict_with_generate generation_num_beams "
        "early_stopping_patience ema_decay average_checkpoints average_choice save_steps save_total_limit logging_steps seed "
        "full_determinism debug"
    ),
    "lora": "r lora_alpha lora_dropout",
    "generation": (
        "max_new_tokens min_new_tokens num_beams do_sample temperature top_p top_k repetition_penalty "
        "length_penalty no_repeat_ngram_size early_stopping blocked_scripts seed batch_size backend postprocess "
        "long_dialogues window_overlap window_merge consensus.candidates consensus.source consensus.instructions "
        "consensus.weights consensus.weights_temperature consensus.utility consensus.facts restore_speakers"
    ),
    "hardware": "cpu_threads portable processes hosts",
    "score": (
        "references bootstrap_samples seed bert_score.checkpoint bert_score.revision bert_score.layer bert_score.idf "
        "embedding.checkpoint embedding.revision embedding.pooling judge.provider judge.base_url judge.model judge.tokenizer "
        "judge.extra_body judge.price_per_million_input judge.price_per_million_output judge.budget judge.requests_per_minute "
        "judge.max_in_flight judge.timeout judge.max_retries judge.votes judge.rows judge.baselines judge.mask "
        "judge.temperature judge.max_new_tokens judge.seed "
        "gates.better_than gates.foreign_share gates.grad_norm gates.dev_loss_falls"
    ),
    "search": "pruned",
}
KEYS = [f"{section}.{key}" for section, keys in SECTIONS.items() for key in keys.split()]


def leaf_names(values: dict[str, Any], prefix: str = "") -> list[str]:
    """Dotted keys. A mapping with free keys, such as lr_scheduler_kwargs, is a leaf."""
    found = []
    for key, value in values.items():
        name = prefix + key
        found += leaf_names(value, f"{name}.") if isinstance(value, dict) and not key.endswith(("_kwargs", "_body")) else [name]
    return found


def changed(**new: Any) -> dict[str, Any]:
    """The values of params.yaml with some of them replaced. "__" stands for a dot."""
    values = copy.deepcopy(VALUES)
    for name, value in new.items():
        *parents, last = name.split("__")
        place = values
        for parent in parents:
            place = place[parent]
        place[last] = value
    return values


def errors(values: object) -> list[str]:
    with pytest.raises(YoyakError) as error:
        parse_params(values, source="params.yaml")
    return [line.strip() for line in str(error.value).splitlines()]


def test_the_list_of_keys_is_frozen() -> None:
    assert leaf_names(VALUES) == KEYS
    assert leaf_names(parse_params(VALUES, source="").model_dump()) == KEYS


def test_params_yaml_as_it_stands_is_valid() -> None:
    assert load_params(ROOT / "params.yaml").model_dump() == VALUES


def test_a_missing_key_is_reported() -> None:
    for name in KEYS:
        values = copy.deepcopy(VALUES)
        *parents, last = name.split(".")
        place = values
        for parent in parents:
            place = place[parent]
        del place[last]
        assert errors(values) == ["params.yaml: 1 error", f"{name}: missing"]


@pytest.mark.parametrize("section", VALUES)
def test_a_missing_section_is_reported(section: str) -> None:
    assert errors({key: value for key, value in VALUES.items() if key != section})[1:] == [f"{section}: missing"]


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("trainning", "training"),
        ("training__learning_rat", "training.learning_rate"),
        ("training__num_epochs", "training.num_train_epochs"),
        ("training__num_beams", "generation.num_beams"),  # a key of another section
        ("learning_rate", "training.learning_rate"),  # a key without its section
        ("generation__seeds", "generation.seed"),
        ("score__seeds", "score.seed"),
        ("model__kobart__revison", "model.kobart.revision"),
        ("model__qlora__revison", "model.qlora.revision"),
        ("model__qlora__quantisation", "model.qlora.quantization"),
        ("model__kobart__attention", "model.qlora.attention"),
        ("promt", "prompt"),
        ("prompt__sistem", "prompt.system"),
        ("training__turn_dropout", "augment.turn_dropout"),
        ("generation__block_scripts", "generation.blocked_scripts"),
        ("lora__dropout", "lora.lora_dropout"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_valid_one(name: str, near: str) -> None:
    assert errors(changed(**{name: 1}))[1:] == [f"{name.replace('__', '.')}: unknown key (did you mean {near}?)"]


def test_an_unknown_key_without_a_similar_one_gets_no_hint() -> None:
    assert errors(changed(data__qqqqq=1))[1:] == ["data.qqqqq: unknown key"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("data__dir", 1),
        ("data__dir", ""),
        ("data__dir", None),
        ("preprocess__noise", "loud"),
        ("preprocess__person_tags", None),
        ("preprocess__max_rejected", -1),
        ("preprocess__max_rejected", True),
        ("preprocess__max_rejected", "0"),
        ("model__family", "KoBART"),
        ("model__kobart__revision", 7),
        ("model__kobart", None),
        ("model__qlora__checkpoint", ""),
        ("model__qlora__revision", 7),
        ("model__qlora__quantization", "fp4"),
        ("model__qlora__quantization", 4),
        ("model__qlora__quantization", None),
        ("model__qlora__double_quantization", "true"),
        ("model__qlora__double_quantization", 1),
        ("model__qlora__attention", "flash"),
        ("model__qlora__attention", None),
        ("model__qlora__padding_free", True),
        ("model__qlora__padding_free", "sometimes"),
        ("model__qlora__offload_folder", False),
        ("model__qlora__offload_folder", ["here"]),
        ("tokenizer__max_input_length", 512.0),
        ("tokenizer__max_input_length", 7),
        ("tokenizer__max_target_length", 3),
        ("tokenizer__special_tokens", "#Person1#"),
        ("tokenizer__new_tokens", -1),
        ("prompt__style", "chat"),
        ("prompt__style", None),
        ("prompt__system", 1),
        ("prompt__system", ["너는 요약가다."]),
        ("prompt__topic", True),
        ("prompt__topic", "sometimes"),
        ("augment__seed", -1),
        ("augment__noise__rate", -0.5),
        ("augment__noise__typo", 1.5),
        ("augment__speaker_swap__rate", 1.1),
        ("augment__templates__rate", 5),
        ("augment__turn_dropout__share", 0),
        ("augment__filters__near_duplicate", 0.4),
        ("augment__filters__rouge_min", True),
        ("training__num_train_epochs", True),
        ("training__num_train_epochs", 0),
        ("training__per_device_train_batch_size", 0),
        ("training__per_device_train_batch_size", 8.5),
        ("training__learning_rate", "0.001"),
        ("training__learning_rate", "fast"),
        ("training__learning_rate", "1e999"),
        ("training__learning_rate", float("nan")),
        ("training__learning_rate", 0.0),
        ("training__learning_rate", -1e-5),
        ("training__learning_rate", 1.5),
        ("training__learning_rate", [1e-5, 2e-5]),
        ("training__lr_scheduler_type", "lineal"),
        ("training__lr_scheduler_kwargs", None),
        ("training__warmup_steps", -1),
        ("training__warmup_steps", 1.5),
        ("training__label_smoothing_factor", 1.0),
        ("training__gradient_checkpointing", 1),
        ("training__gradient_checkpointing", "false"),
        ("training__precision", "fp16"),
        ("training__seed", 2**32),
        ("training__seed", True),
        ("lora__r", 0),
        ("lora__lora_dropout", 1),
        ("generation__min_new_tokens", -1),
        ("generation__num_beams", 0),
        ("generation__top_p", 0),
        ("generation__top_p", 1.01),
        ("generation__temperature", 0),
        ("generation__temperature", 1e-40),
        ("generation__repetition_penalty", 1e-40),
        ("generation__length_penalty", float("inf")),
        ("generation__early_stopping", "maybe"),
        ("generation__blocked_scripts", None),
        ("generation__blocked_scripts", "latin"),
        ("generation__blocked_scripts", {"latin": True}),
        ("generation__postprocess", False),
        ("score__references", "best"),
        ("score__bootstrap_samples", 10),
    ],
)
def test_a_wrong_value_is_one_error_with_its_name(name: str, value: object) -> None:
    first, *rest = errors(changed(**{name: value}))
    assert first == "params.yaml: 1 error"
    assert len(rest) == 1
    assert rest[0].startswith(name.replace("__", ".") + ": ")


def test_a_wrong_item_of_a_list_is_named() -> None:
    assert [line.split(":")[0] for line in errors(changed(tokenizer__special_tokens=["#Person1#", "Person2", 3]))[1:]] == [
        "tokenizer.special_tokens.1",
        "tokenizer.special_tokens.2",
    ]
    scripts = ["latin", "hangul", "kana", None]
    assert [line.split(":")[0] for line in errors(changed(generation__blocked_scripts=scripts))[1:]] == [
        "generation.blocked_scripts.1",
        "generation.blocked_scripts.3",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("training__warmup_steps", 0),
        ("training__warmup_steps", 500),
        ("training__warmup_steps", 0.1),
        ("training__num_train_epochs", 0.5),
        ("generation__early_stopping", "never"),
        ("generation__early_stopping", False),
        ("generation__min_new_tokens", 100),  # as many as max_new_tokens
        ("model__kobart__revision", "0123abc"),
        ("model__qlora__revision", "0123abc"),
        ("model__qlora__quantization", "int8"),
        ("model__qlora__quantization", "none"),
        ("model__qlora__double_quantization", False),
        ("model__qlora__attention", "sdpa"),
        ("model__qlora__attention", "eager"),
        ("model__qlora__attention", "flash_attention_2"),
        ("model__qlora__padding_free", "never"),
        ("model__qlora__padding_free", "always"),
        ("model__qlora__offload_folder", "/tmp/offload"),
        ("tokenizer__special_tokens", []),
        ("prompt__style", "plain"),
        ("prompt__style", "instruction"),
        ("prompt__system", "너는 요약가다."),
        ("prompt__topic", "always"),
        ("prompt__topic", "never"),
        ("augment__noise__rate", 2.5),
        ("augment__templates__rate", 4),
        ("augment__filters__length_max", 1),
        ("generation__blocked_scripts", ["latin", "han", "kana", "other"]),
        ("training__seed", 2**32 - 1),
    ],
)
def test_values_at_the_limits_are_valid(name: str, value: object) -> None:
    kept: Any = parse_params(changed(**{name: value}), source="").model_dump()
    for part in name.split("__"):
        kept = kept[part]
    assert kept == value


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (
            {"generation__min_new_tokens": 120},
            "generation.min_new_tokens: 120 is more than generation.max_new_tokens (100)",
        ),
        (
            {"augment__filters__rouge_min": 0.96},
            "augment.filters.rouge_min: 0.96 is more than augment.filters.rouge_max (0.95)",
        ),
        (
            {"score__judge__votes": 3, "score__judge__temperature": 0},
            "score.judge.votes: 3 votes at temperature 0 are the same; set 1 vote or a higher temperature",
        ),
        ({"score__judge__baselines": ["medoid", "medoid"]}, "score.judge.baselines: name each one once"),
        (
            {"score__judge__extra_body": {"temperature": 1}},
            "score.judge.extra_body: temperature must not be here; it comes from score.judge.temperature",
        ),
        ({"training__predict_with_generate": False}, "training.metric_for_best_model: a ROUGE measure needs"),
        (
            {"model__qlora__padding_free": "always", "model__qlora__attention": "eager"},
            "model.qlora.padding_free: always needs model.qlora.attention: auto, sdpa or flash_attention_2",
        ),
    ],
)
def test_impossible_combinations(new: dict[str, Any], said: str) -> None:
    (line,) = errors(changed(**new))[1:]
    assert line.startswith(said)


def test_loss_works_without_generation() -> None:
    parse_params(changed(training__predict_with_generate=False, training__metric_for_best_model="loss"), source="")


@pytest.mark.parametrize("attention", ["auto", "sdpa", "eager", "flash_attention_2"])
@pytest.mark.parametrize("padding_free", ["auto", "always", "never"])
def test_only_eager_attention_needs_padding(attention: str, padding_free: str) -> None:
    values = changed(model__qlora__attention=attention, model__qlora__padding_free=padding_free)
    if (attention, padding_free) == ("eager", "always"):
        assert len(errors(values)) == 2
    else:
        parse_params(values, source="")


def test_all_errors_are_reported_together() -> None:
    values = changed(
        data__dir=1, training__learning_rate="fast", training__lerning_rate=1, generation__min_new_tokens=500, trainings=1
    )
    del values["score"]["seed"]
    first, *rest = errors(values)
    assert first == "params.yaml: 6 errors"
    assert {line.split(": ")[0] for line in rest} == {
        "data.dir",
        "training.learning_rate",
        "training.lerning_rate",
        "generation.min_new_tokens",
        "trainings",
        "score.seed",
    }


@pytest.mark.parametrize("values", [None, [], "text", 3, {}, {1: 2}, {"data": None}, {"data": []}])
def test_a_value_that_is_not_a_mapping_of_sections_is_reported(values: object) -> None:
    assert errors(values)[0].startswith("params.yaml: ")


@pytest.mark.parametrize(
    "spelling", ["2e-5", "2e-05", "2.0e-5", "2.0E-05", "0.00002", "'2e-5'", "'2e-05'", '"2.0e-5"', ".2e-4"]
)
def test_every_spelling_of_a_learning_rate(tmp_path: Path, spelling: str) -> None:
    (tmp_path / "params.yaml").write_text(TEXT.replace("learning_rate: 1.0e-3", f"learning_rate: {spelling}"), encoding="utf-8")
    assert load_params(tmp_path / "params.yaml").training.learning_rate == 2e-5


def test_a_whole_number_is_a_number(tmp_path: Path) -> None:
    text = TEXT.replace("learning_rate: 1.0e-3", "learning_rate: 1").replace("length_penalty: 1.0", "length_penalty: -2")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    params = load_params(tmp_path / "params.yaml")
    assert (params.training.learning_rate, params.generation.length_penalty) == (1.0, -2.0)


def test_values_that_dvc_writes_are_read(tmp_path: Path) -> None:
    """`dvc exp run -S` rewrites the file with ruamel.yaml: 2e-05, and `revision:` for null."""
    yaml = YAML()
    values = yaml.load(TEXT)
    values["training"]["learning_rate"] = 2e-5
    text = io.StringIO()
    yaml.dump(values, text)
    assert "2e-05" in text.getvalue()
    (tmp_path / "params.yaml").write_text(text.getvalue(), encoding="utf-8")
    assert load_params(tmp_path / "params.yaml").model_dump() == changed(training__learning_rate=2e-5)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (TEXT.encode() + b"\ndata: {dir: other}\n", "duplicate key"),
        (TEXT.replace("noise: moderate", "noise: moderate\n  noise: minimal").encode(), "duplicate key"),
        (b"data: [", "not readable as YAML"),
        (b"\tdata: 1", "not readable as YAML"),
        (TEXT.encode() + b"\0", "a NUL byte; this is not a text file"),
        (TEXT.encode("utf-16"), "this is UTF-16; save it as UTF-8"),
        (b"# \n" + "data: {dir: 자료}".encode("cp949"), ":2: not UTF-8"),
        ("data: {dir: 자료}".encode("cp949"), "iconv -f CP949 -t UTF-8 params.yaml > new.yaml"),
        (TEXT.replace("revision:", "revision: 2024-13-45").encode(), "not readable as YAML"),
        (b"", "is empty; restore it: git checkout "),
        (b"# nothing\n", "is empty; restore it: git checkout "),
        (b"- data\n", "must be a mapping with the keys data, preprocess"),
        (b"--- {}\n--- {}\n", "not readable as YAML"),
        (b"!!python/object/apply:os.getcwd []", "not readable as YAML"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(YoyakError) as error:
        load_params(path)
    assert str(error.value).startswith(f"{path}:")
    assert said in str(error.value)
    assert "suppress" not in str(error.value)


def test_the_message_for_a_missing_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(YoyakError, match=r"none\.yaml: there is no such file here; run from the repository's root"):
        load_params(tmp_path / "none.yaml")


def test_params_are_frozen() -> None:
    params = parse_params(VALUES, source="")
    with pytest.raises(ValidationError, match="frozen"):
        params.training.seed = 1


def test_the_chosen_checkpoint_is_that_of_the_family() -> None:
    for family in ("kobart", "qlora"):
        model = parse_params(
            changed(model__family=family, model__qlora__checkpoint="q", model__kobart__checkpoint="k"), source=""
        ).model
        assert model.chosen.checkpoint == family[0]


def test_the_sections_are_those_of_params_yaml() -> None:
    assert set(Params.model_fields) == set(VALUES)


def test_changes_replace_values_of_the_file_and_are_validated() -> None:
    path = ROOT / "params.yaml"
    changed = load_params(path, changes=["generation.num_beams=8", "training.learning_rate=2e-5", "generation.do_sample=true"])
    assert changed.generation.num_beams == 8
    assert changed.training.learning_rate == 2e-5
    assert changed.generation.do_sample is True
    assert load_params(path).generation.num_beams != 8
    nested = load_params(
        path, changes=["model.qlora.quantization=int8", "prompt.system=", "generation.blocked_scripts=[latin, han]"]
    )
    assert nested.model.qlora.quantization == "int8"
    assert nested.prompt.system is None
    assert nested.generation.blocked_scripts == ["latin", "han"]
    for bad in ("generation.beams=8", "generation.num_beams=many", "nothing=1", "data.dir.x=1"):
        with pytest.raises(YoyakError, match=bad.partition("=")[0].replace(".", "[.]")):
            load_params(path, changes=[bad])


@pytest.mark.parametrize(
    ("scheduler", "kwargs", "said"),
    [
        ("cosine", {"num_cycles": 2}, None),
        ("cosine_with_min_lr", {"min_lr": 1e-6}, None),
        ("cosine_with_min_lr", {}, "cosine_with_min_lr needs min_lr or min_lr_rate"),
        ("warmup_stable_decay", {}, "warmup_stable_decay needs num_decay_steps"),
        ("linear", {"nonsense": 1}, "linear takes none, not nonsense"),
    ],
)
def test_a_scheduler_accepts_only_its_own_kwargs(scheduler: str, kwargs: dict[str, float], said: str | None) -> None:
    values = YAML(typ="safe").load(TEXT)
    values["training"] |= {"lr_scheduler_type": scheduler, "lr_scheduler_kwargs": kwargs}
    if said is None:
        assert parse_params(values, source="it").training.lr_scheduler_kwargs == kwargs
    else:
        with pytest.raises(YoyakError, match=f"training.lr_scheduler_kwargs: {said}"):
            parse_params(values, source="it")


@pytest.mark.parametrize("folder", ["data", "./data/", "."])
def test_the_raw_data_needs_a_folder_of_its_own(values: dict[str, Any], folder: str) -> None:
    values["data"]["dir"] = folder
    with pytest.raises(YoyakError, match=r"data\.dir: .* also has the outputs of the stages"):
        parse_params(values, source="test")
