"""Loading decoder-only models (Llama, Qwen, SOLAR, GPT-NeoX), quantized by bitsandbytes if params ask for it."""

import logging
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from yoyak.config.sections import QuantizedCheckpoint
from yoyak.models.checkpoints import from_pretrained_arguments, load_config, one_line, verify_checkpoint
from yoyak.models.finite_weights import check_finite
from yoyak.models.new_embeddings import fill_new_rows, pieces_of_new_tokens
from yoyak.models.tokenizer_loading import save_tokenizer
from yoyak.system import hardware
from yoyak.system.errors import YoyakError


def quantization_config(settings: QuantizedCheckpoint, dtype: torch.dtype) -> BitsAndBytesConfig | None:
    """The bitsandbytes config for the quantization in params.

    NF4 and double quantization are those of QLoRA (Dettmers et al. 2023, arXiv:2305.14314).

    Args:
        settings: section `model.qlora` of params.yaml.
        dtype: number format of the matrix products.

    Returns:
        None where `settings.quantization` is "none".

    Raises:
        YoyakError: if bitsandbytes cannot be imported, or has no compiled library for this device.
    """
    if settings.quantization == "none":
        return None
    # On CPUs with AVX512 bitsandbytes reports at import that an optional package is missing. It then uses its own kernels.
    logging.getLogger("bitsandbytes").addFilter(lambda record: "kernels-community" not in record.getMessage())
    try:
        from bitsandbytes import cextension
    except Exception as error:  # a broken CUDA installation raises exceptions of any class
        raise YoyakError(
            f"bitsandbytes cannot be imported ({one_line(error)}). Install it again, or choose model.qlora.quantization: none"
        ) from error
    if isinstance(cextension.lib, getattr(cextension, "ErrorHandlerMockBNBNativeLibrary", ())):
        raise YoyakError(
            "bitsandbytes has no compiled library for this device. Install a build for it (`python -m bitsandbytes` says "
            "which), or choose model.qlora.quantization: none"
        )
    offload = {"llm_int8_enable_fp32_cpu_offload": bool(settings.offload_folder)}  # this name also applies in 4 bits
    if settings.quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, **offload)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        **offload,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=settings.double_quantization,
        bnb_4bit_compute_dtype=dtype,
    )


def load(
    settings: QuantizedCheckpoint, tokenizer: PreTrainedTokenizerBase, *, precision: str
) -> tuple[PreTrainedModel, list[int]]:
    """Load a decoder-only model and give it an embedding for every token of `tokenizer`.

    The embedding of a new token starts as the mean of the embeddings of the pieces into which the checkpoint's own
    tokenizer splits it.

    Args:
        settings: section `model.qlora` of params.yaml.
        tokenizer: the checkpoint's tokenizer, with added tokens.
        precision: name of a torch dtype, for the matrix products and for weights that are not quantized.

    Returns:
        The model, and the ids of the tokens that the checkpoint did not have.

    Raises:
        YoyakError: for a missing or damaged checkpoint, a model of another architecture, or a bitsandbytes that does not
            work on this device.
    """
    name, dtype = settings.checkpoint, getattr(torch, precision)
    arguments = from_pretrained_arguments(name, settings.revision)
    verify_checkpoint(name)
    config = load_config(arguments)
    if config.is_encoder_decoder:
        raise YoyakError(f"{name}: {config.model_type} is an encoder-decoder; set model.family: kobart to use it")
    attention, _ = hardware.choose_attention(settings.attention, precision=precision)
    offload = {"offload_folder": settings.offload_folder} if settings.offload_folder else {}
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            **arguments,
            config=config,
            dtype=dtype,
            quantization_config=quantization_config(settings, dtype),
            device_map="auto" if offload else {"": hardware.default_device()},
            attn_implementation=attention,
            output_loading_info=True,
            **offload,
        )
    except YoyakError:
        raise
    except torch.OutOfMemoryError:
        raise YoyakError(f"{name}: the model does not fit into the GPU's memory; `yoyak doctor` estimates what fits") from None
    except Exception as error:  # safetensors, torch and the hub raise exceptions of their own classes
        raise YoyakError(f"{name}: the model cannot be loaded: {one_line(error)}") from error
    if missing := sorted(info["missing_keys"]):  # transformers would fill them with random numbers
        raise YoyakError(f"{name}: {len(missing)} weights of the model are missing from its files, first {missing[0]}")
    check_finite(name, model.named_parameters())
    new_tokens = _add_token_embeddings(model, settings, tokenizer)
    model.generation_config = _generation_config(model, tokenizer)
    return model, new_tokens


def _add_token_embeddings(
    model: PreTrainedModel, settings: QuantizedCheckpoint, tokenizer: PreTrainedTokenizerBase
) -> list[int]:
    """Fill the embeddings of added tokens, in place. Returns their ids."""
    pieces = pieces_of_new_tokens(settings.checkpoint, settings.revision, tokenizer)
    if pieces and model.get_input_embeddings().weight.is_meta:
        raise YoyakError(
            f"{settings.checkpoint}: its embeddings are offloaded, so no tokens can be added; set tokenizer.special_tokens: [] "
            "and tokenizer.new_tokens: 0"
        )
    if len(tokenizer) > model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    fill_new_rows(model, pieces)
    return list(pieces)


def _generation_config(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> GenerationConfig:
    """A config with only the special token ids. A checkpoint may have more ends of text, such as <|endoftext|> of Qwen."""
    ends: Any = model.generation_config.eos_token_id
    ends = ends if isinstance(ends, list) else [ends]
    return GenerationConfig(
        eos_token_id=sorted({tokenizer.eos_token_id, *ends} - {None}),
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a model that is not quantized as a checkpoint."""
    model.save_pretrained(folder)
    save_tokenizer(tokenizer, folder)


def load_merged(folder: str, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """Load a model that `adapters.merge` wrote, in its own precision where the hardware supports it."""
    settings = QuantizedCheckpoint(
        checkpoint=folder,
        revision=None,
        quantization="none",
        double_quantization=False,
        attention="auto",
        padding_free="never",
        offload_folder=None,
    )
    saved = str(load_config(from_pretrained_arguments(folder, None)).dtype or "float32").removeprefix("torch.")
    return load(settings, tokenizer, precision=hardware.supported_precision(saved))[0].eval()
