"""4-bit LoRA of decoder-only models: base and adapter in and out of folders and hubs."""

import logging
import sys
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MethodType
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from peft.tuners.trainable_tokens.layer import TrainableTokensLayer
from safetensors import safe_open
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from yoyak.config.sections import Lora, QuantizedCheckpoint
from yoyak.models.checkpoints import config_of, load_tokenizer, locate, short, verify_folder
from yoyak.system import hardware
from yoyak.system.checksums import sha256
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import read_json, write_json

BASE_FILE = "base.json"  # beside the adapter: which base it belongs to


def quantization(settings: QuantizedCheckpoint, dtype: torch.dtype) -> BitsAndBytesConfig | None:
    """What bitsandbytes is told (Dettmers et al. 2023, arXiv:2305.14314: NF4, double quantisation).

    Raises:
        YoyakError: if bitsandbytes cannot be imported, or has no compiled library for this device.
    """
    if settings.quantization == "none":
        return None
    # Said at import on CPUs with AVX512: a kernel of a package that is not installed. Other kernels are used.
    logging.getLogger("bitsandbytes").addFilter(lambda record: "kernels-community" not in record.getMessage())
    try:
        from bitsandbytes import cextension
    except Exception as error:  # a broken CUDA set-up raises any kind
        raise YoyakError(
            f"bitsandbytes cannot be imported ({short(error)}); or choose model.qlora.quantization: none"
        ) from error
    if isinstance(cextension.lib, getattr(cextension, "ErrorHandlerMockBNBNativeLibrary", ())):
        raise YoyakError(
            "bitsandbytes has no compiled library for this device; install a build for it (python -m bitsandbytes says which), "
            "or choose model.qlora.quantization: none"
        )
    offload = {"llm_int8_enable_fp32_cpu_offload": bool(settings.offload_folder)}  # its name also in 4 bits
    if settings.quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, **offload)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        **offload,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=settings.double_quantization,
        bnb_4bit_compute_dtype=dtype,
    )


def load_base(
    settings: QuantizedCheckpoint, tokenizer: PreTrainedTokenizerBase, *, precision: str
) -> tuple[PreTrainedModel, list[int]]:
    """A decoder-only model with embeddings for every token of `tokenizer`, quantized, and the ids that it did not have.

    Those tokens start as the mean of the pieces that the base's own tokenizer writes them with. `precision` is that of
    products and of what is not quantized.

    Raises:
        YoyakError: for a missing or damaged checkpoint, one of another architecture, or no bitsandbytes for this device.
    """
    name, dtype = settings.checkpoint, getattr(torch, precision)
    where = locate(name, settings.revision)
    verify_folder(name)
    config = config_of(where)
    if config.is_encoder_decoder:
        raise YoyakError(f"{name}: {config.model_type} is an encoder-decoder; choose model.family: kobart for it")
    attention, _ = hardware.choose_attention(settings.attention, precision=precision)
    offload = {"offload_folder": settings.offload_folder} if settings.offload_folder else {}
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            **where,
            config=config,
            dtype=dtype,
            quantization_config=quantization(settings, dtype),
            device_map="auto" if offload else {"": hardware.default_device()},
            attn_implementation=attention,
            output_loading_info=True,
            **offload,
        )
    except YoyakError:
        raise
    except torch.OutOfMemoryError:
        raise YoyakError(f"{name}: does not fit into the GPU's memory; python -m yoyak doctor estimates what will") from None
    except Exception as error:  # safetensors, torch and the hub each raise their own kinds
        raise YoyakError(f"{name}: the model cannot be loaded: {short(error)}") from error
    if missing := sorted(info["missing_keys"]):  # transformers would go on with random numbers in their place
        raise YoyakError(f"{name}: {len(missing)} weights of the model are missing from its files, first {missing[0]}")
    pieces = _pieces_of_new_tokens(settings, tokenizer)
    if pieces and model.get_input_embeddings().weight.is_meta:
        raise YoyakError(f"{name}: its embeddings were offloaded, so no tokens can be added; tokenizer.special_tokens: []")
    if len(tokenizer) > model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    with torch.no_grad():
        for module in {model.get_input_embeddings(), model.get_output_embeddings()}:
            for id_, parts in pieces.items():
                module.weight[id_] = module.weight[parts].float().mean(0).to(module.weight.dtype)
    # Ends that the checkpoint itself knows beside the tokenizer's: Qwen's <|endoftext|>, Llama's <|eom_id|>.
    ends = model.generation_config.eos_token_id
    ends = ends if isinstance(ends, list) else [ends]
    model.generation_config = GenerationConfig(
        eos_token_id=sorted({tokenizer.eos_token_id, *ends} - {None}),
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return model, list(pieces)


def _pieces_of_new_tokens(settings: QuantizedCheckpoint, tokenizer: PreTrainedTokenizerBase) -> dict[int, list[int]]:
    """For each id that the base's own tokenizer does not have: the ids that it writes that text with."""
    own = AutoTokenizer.from_pretrained(**locate(settings.checkpoint, settings.revision))
    known = own.get_vocab()
    new = {token: id_ for token, id_ in tokenizer.get_vocab().items() if token not in known}
    return {id_: own(token, add_special_tokens=False).input_ids for token, id_ in sorted(new.items(), key=lambda item: item[1])}


def _without_noise() -> None:
    """Leave out two messages that a user can do nothing about."""
    # peft asks transformers by a name that goes in its next version; nothing is lost.
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
    # That unpacked weights are in the precision that we asked for.
    logging.getLogger("transformers.integrations.bitsandbytes").addFilter(
        lambda record: "are dequantized" not in record.getMessage()
    )


def train_in_4_bits(model: PreTrainedModel) -> None:
    """Keep 4-bit layers trainable after an evaluation on a CPU.

    In eval mode bitsandbytes repacks their weights there for a kernel that has no gradient: back in training the loss is
    right and the adapter's gradients are wrong. Prediction, in a process of its own, may repack.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def add_lora(model: PreTrainedModel, lora: Lora, *, new_tokens: Sequence[int], settings: QuantizedCheckpoint) -> PeftModel:
    """`model`, frozen, with a LoRA on every linear layer but the output's, and trainable embeddings for `new_tokens`.

    What is trained is float32.
    """
    names = {module: name.rpartition(".")[2] for name, module in model.named_modules()}
    heads = [model.get_input_embeddings(), model.get_output_embeddings()]
    tied = heads[0].weight is heads[1].weight
    away = {str(place) for place in (getattr(model, "hf_device_map", None) or {}).values()} & {"cpu", "disk"}
    if away and torch.cuda.is_available():
        raise YoyakError(
            f"model.qlora.offload_folder: parts of {settings.checkpoint} are on {' and '.join(sorted(away))}: enough to write "
            "summaries, but not to train; python -m yoyak doctor says what fits"
        )
    rows = {names[module]: list(new_tokens) for module in (heads[:1] if tied else heads)}
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.lora_alpha,
        lora_dropout=lora.lora_dropout,
        target_modules="all-linear",
        trainable_token_indices=rows if new_tokens else None,
        task_type="CAUSAL_LM",
        base_model_name_or_path=settings.checkpoint,
        revision=settings.revision,
    )
    train_in_4_bits(model)
    _without_noise()
    tuned = get_peft_model(model, config)
    for parameter in tuned.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    # Else peft would put a resized embedding, whole, into each checkpoint, and ask a hub for the base without its revision.
    tuned.save_pretrained = partial(tuned.save_pretrained, save_embedding_layers=False)  # type: ignore[method-assign]
    _rows_alone(tuned)
    return tuned


def describe(model: PeftModel) -> str:
    """Parameters in one line: all, trained, and the kinds of layers that carry a LoRA."""
    trained, every = model.get_nb_trainable_parameters()
    kinds = sorted({name.rpartition(".")[2] for name in model.peft_config["default"].target_modules})
    return f"{every:,} parameters, {trained:,} trained ({trained / every:.2%}), LoRA on {', '.join(kinds)}"


def _rows_alone(model: PeftModel) -> None:
    """Let trained token rows cost what they are: peft copies the whole embedding for them, and its gradient, at every step."""
    layers: list[Any] = [module for module in model.modules() if isinstance(module, TrainableTokensLayer)]
    for layer in layers:
        device = layer.base_layer.weight.device
        layer.ids_of = {name: torch.tensor(ids, device=device) for name, ids in layer.token_indices.items()}
        layer.forward_adapters = MethodType(_forward_rows, layer)


def _forward_rows(
    layer: TrainableTokensLayer, x: torch.Tensor, active: Sequence[str], *args: Any, **kwargs: Any
) -> torch.Tensor:
    """The base layer's output with the trained rows' part replaced. Same values as peft's own forward."""
    result: torch.Tensor = layer.base_layer(x, *args, **kwargs)
    if layer.disable_adapters or layer.merged or not active:
        return result
    for name in active:
        ids = layer.ids_of[name].to(result.device)  # type: ignore[index]
        rows = layer.trainable_tokens_delta[name].to(result.dtype)
        if isinstance(layer.base_layer, torch.nn.Embedding):
            scale = layer._get_embed_scale()  # type: ignore[no-untyped-call]
            rows = rows if scale is None else rows * scale.to(rows.dtype)
            same = x[..., None] == ids
            result = torch.where(same.any(-1, keepdim=True), rows[same.int().argmax(-1)], result)
        else:
            result = result.index_copy_(-1, ids, torch.nn.functional.linear(x, rows))
    return result


def save(
    model: PeftModel, tokenizer: PreTrainedTokenizerBase, folder: Path, *, settings: QuantizedCheckpoint, precision: str
) -> None:
    """The adapter (with the rows of added tokens), the tokenizer with its chat template, and which base they belong to."""
    tuned = model.peft_config["default"]
    tuned.target_modules = sorted(tuned.target_modules)  # a set, whose order differs from process to process
    model.save_pretrained(str(folder))
    (folder / "README.md").unlink(missing_ok=True)  # peft's empty model card
    tokenizer.save_pretrained(folder)
    write_json(
        folder / BASE_FILE, {**settings.model_dump(), "precision": precision, "sha256": fingerprint(settings.checkpoint)}
    )


def fingerprint(checkpoint: str) -> dict[str, str]:
    """SHA-256 of config and weights of a checkpoint folder; none for a hub name, whose revision says the same."""
    folder = Path(checkpoint)
    if not folder.is_dir():
        return {}
    files = sorted(path for path in folder.iterdir() if path.suffix in {".safetensors", ".bin"} or path.name == "config.json")
    return {path.name: sha256(path) for path in files}


def read_base(folder: Path) -> dict[str, Any]:
    """Which base the adapter in `folder` belongs to.

    Raises:
        YoyakError: if that is not recorded, or the base's folder now holds another model.
    """
    if not (folder / BASE_FILE).is_file():
        raise YoyakError(f"{folder}: an adapter without {BASE_FILE}, which says what it was trained on; dvc repro writes both")
    base: dict[str, Any] = read_json(folder / BASE_FILE)
    if missing := {*QuantizedCheckpoint.model_fields, "precision", "sha256"} - set(base):
        raise YoyakError(f"{folder / BASE_FILE}: no {', '.join(sorted(missing))}; the file is damaged, or of another version")
    if base["sha256"] and not Path(base["checkpoint"]).is_dir():
        raise YoyakError(f"{folder}: its base, the folder {base['checkpoint']}, is not here; run from where it lies")
    if (now := fingerprint(base["checkpoint"])) and now != base["sha256"]:
        changed = sorted(name for name in {**now, **base["sha256"]} if now.get(name) != base["sha256"].get(name))
        raise YoyakError(
            f"{folder}: this adapter was trained on another state of {base['checkpoint']}: {', '.join(changed)} differ; "
            "train it again, or put the base back"
        )
    return base


def check_base(folder: Path, base: Mapping[str, Any], wanted: QuantizedCheckpoint) -> None:
    """YoyakError if the adapter's own base is not the one that the params name."""
    for name in ("checkpoint", "revision"):
        if base[name] != getattr(wanted, name):
            raise YoyakError(
                f"{folder}: this adapter belongs to {base['checkpoint']} (revision {base['revision']}), but model.qlora.{name} "
                f"is {getattr(wanted, name)}; run dvc repro, or set it back"
            )


def load(
    folder: Path, *, wanted: QuantizedCheckpoint | None = None
) -> tuple[PreTrainedModel | PeftModel, PreTrainedTokenizerBase]:
    """A trained adapter on its own base, ready to write.

    On a GPU the base stays quantized. On a CPU, where each product would unpack its weights anew, it is unpacked once and
    the adapter merged into it, if all that takes at most half of the machine's memory: the same values, sooner.

    Raises:
        YoyakError: if its base is not `wanted` (if given), or has changed, or if a file is missing or damaged.
    """
    base = read_base(folder)
    settings = QuantizedCheckpoint(**{name: base[name] for name in QuantizedCheckpoint.model_fields})
    if wanted:
        check_base(folder, base, wanted)
        settings = wanted
    precision = hardware.supported_precision(base["precision"])
    tokenizer = load_tokenizer(str(folder), None, ())
    model, _ = load_base(settings, tokenizer, precision=precision)
    if model.device.type == "cpu" and model.num_parameters() * 4 <= hardware.memory_bytes().total / 2:
        return _merged(model, folder, settings, precision), tokenizer
    return attach(model, folder), tokenizer


def _merged(model: PreTrainedModel, folder: Path, settings: QuantizedCheckpoint, precision: str) -> PreTrainedModel:
    """`model` unpacked, with the adapter of `folder` in its weights."""
    generation = model.generation_config
    _without_noise()
    if settings.quantization != "none":
        model = model.dequantize(dtype=getattr(torch, precision))
    merged: PreTrainedModel = attach(model, folder).merge_and_unload()
    merged.generation_config = generation
    return merged


def attach(model: PreTrainedModel, folder: Path) -> PeftModel:
    """`model` with the adapter of `folder`, in eval mode. YoyakError if the adapter does not fit or is damaged."""
    _without_noise()
    verify_folder(str(folder))
    try:
        tuned = PeftModel.from_pretrained(model, str(folder))
    except Exception as error:  # safetensors, json, torch and peft each raise their own kinds
        raise YoyakError(f"{folder}: the adapter cannot be loaded: {short(error)}") from error
    with safe_open(folder / "adapter_model.safetensors", framework="pt") as file:
        missing = set(get_peft_model_state_dict(tuned, save_embedding_layers=False)) - set(file.keys())
    if missing:  # peft would go on with what they started from
        raise YoyakError(f"{folder}: {len(missing)} weights of the adapter are missing, first {min(missing)}")
    _rows_alone(tuned)
    tuned.eval()
    return tuned


def load_merged(folder: Path, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """What `merge` wrote, in its own precision where the hardware has it."""
    settings = QuantizedCheckpoint(
        checkpoint=str(folder),
        revision=None,
        quantization="none",
        double_quantization=False,
        attention="auto",
        padding_free="never",
        offload_folder=None,
    )
    saved = str(config_of(locate(str(folder), None)).dtype or "float32").removeprefix("torch.")
    return load_base(settings, tokenizer, precision=hardware.supported_precision(saved))[0].eval()


def merge(folder: Path, output: Path) -> None:
    """Write the adapter's model as one checkpoint that needs neither peft nor bitsandbytes.

    The base is quantized first, as it was in training, and then written out in full: so the merged model computes what
    the adapter was trained to correct, and writes the same text.

    Raises:
        YoyakError: as `load` does.
    """
    base = read_base(folder)
    settings = QuantizedCheckpoint(**{name: base[name] for name in QuantizedCheckpoint.model_fields})
    precision = base["precision"]
    tokenizer = load_tokenizer(str(folder), None, ())
    model, _ = load_base(settings, tokenizer, precision=precision)
    merged = _merged(model, folder, settings, precision)
    merged.save_pretrained(output)
    tokenizer.save_pretrained(output)
    print(f"{output}: {merged.num_parameters():,} parameters, {precision}", file=sys.stderr, flush=True)
