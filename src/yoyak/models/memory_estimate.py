"""How much GPU memory training and prediction will take, before anything is downloaded or loaded."""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedConfig

from yoyak.config.sections import Params
from yoyak.models import checkpoints
from yoyak.system import hardware

GIB = 2**30
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
# State of each optimizer, bytes a trained parameter; a paged one can move to RAM, but is wanted on the GPU at each step.
OPTIMIZER = {"adamw_torch": 8, "adamw_torch_fused": 8, "paged_adamw_32bit": 8, "adamw_bnb_8bit": 2, "paged_adamw_8bit": 2}
SLACK = 1.1  # the allocator's holes
CONTEXT = 0.6 * GIB  # CUDA's own


@dataclass(frozen=True)
class Estimate:
    """Bytes. `parameters` is a count."""

    parameters: int
    weights: int
    adapter: int  # with its gradients and optimizer state
    activations: int  # kept for the backward pass
    logits: int
    decoding: int  # the decoder's cache and its widest step

    @property
    def training(self) -> int:
        return self.weights + self.adapter + self.activations + self.logits

    @property
    def prediction(self) -> int:
        return self.weights + self.decoding

    @property
    def peak(self) -> int:
        """Of training and prediction, with what CUDA and its allocator take."""
        return int(max(self.training, self.prediction) * SLACK + CONTEXT)


def weight_bytes(quantization: str, *, double: bool, dtype_bytes: int) -> float:
    """Bytes a quantized weight: NF4 has a scale for 64 weights, in 4 bytes, or doubly quantized in 1 byte and 4 bytes for 256
    scales (Dettmers et al. 2023, arXiv:2305.14314, section 3); int8 has one scale a row."""
    if quantization == "nf4":
        return 0.5 + (1 / 64 + 4 / (64 * 256) if double else 4 / 64)
    return 1.0 if quantization == "int8" else float(dtype_bytes)


@dataclass(frozen=True)
class Layers:
    """What a model is made of: all its parameters, and (in, out) of each linear layer but the output's."""

    parameters: int
    linears: list[tuple[int, int]]
    tied: bool


def layers_of(config: PreTrainedConfig) -> Layers:
    """By building the model without its numbers."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    linears = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not head]
    return Layers(model.num_parameters(), [(m.in_features, m.out_features) for m in linears], head.weight is embedding.weight)


def estimate(config: PreTrainedConfig, params: Params, *, precision: str, made_of: Layers | None = None) -> Estimate:
    """For a decoder-only model of this config, trained and used by these params: every row as long as allowed."""
    made_of = made_of or layers_of(config)
    linears, parameters = made_of.linears, made_of.parameters
    quantized = sum(wide * high for wide, high in linears)
    size, settings, tokenizer, training = BYTES[precision], params.model.qlora, params.tokenizer, params.training
    each = weight_bytes(settings.quantization, double=settings.double_quantization, dtype_bytes=size)
    # The largest layer stands there once more in full while it is computed with.
    unpacked = max(wide * high for wide, high in linears) * size if settings.quantization != "none" else 0
    weights = int(quantized * each + (parameters - quantized) * size + unpacked)

    width, layers = config.hidden_size, config.num_hidden_layers
    rows = len(tokenizer.special_tokens) * width * (1 if made_of.tied else 2)
    trained = rows + sum(params.lora.r * (wide + high) for wide, high in linears)
    adapter = trained * (4 + 4 + OPTIMIZER.get(training.optim, 4))

    batch = 2 if training.debug else training.per_device_train_batch_size
    tokens = batch * (tokenizer.max_input_length + tokenizer.max_target_length)
    layer = _layer_bytes(
        config, linears[: len(linears) // layers], size=size, dropout=params.lora.lora_dropout > 0, r=params.lora.r
    )
    activations = tokens * (layers * width * size + layer if training.gradient_checkpointing else layers * layer)
    vocabulary = config.vocab_size
    # As they are, in float32, their logarithms of probability, and the gradients of these; smoothing has two copies more.
    smoothing = 2 * 4 if training.label_smoothing_factor else 0
    logits = batch * tokenizer.max_target_length * vocabulary * (2 * size + 3 * 4 + smoothing)

    generation = params.generation
    sequences = generation.batch_size * generation.num_beams
    key_values = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    cache = layers * 2 * key_values * _head_size(config) * size * (tokenizer.max_input_length + generation.max_new_tokens)
    widest = tokenizer.max_input_length * (3 * config.intermediate_size + 4 * width) * size
    decoding = sequences * (cache + widest + vocabulary * 4 * 2)
    return Estimate(parameters, weights, adapter, int(activations), logits, decoding)


def _head_size(config: PreTrainedConfig) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def _layer_bytes(config: PreTrainedConfig, linears: list[tuple[int, int]], *, size: int, dropout: bool, r: int) -> int:
    """What one layer keeps of one token for the backward pass."""
    # With dropout each LoRA keeps an input of its own and a mask; without, the layers share theirs. And what A gives.
    lora = sum(wide * ((size + 1) if dropout else 0) + r * size for wide, _ in linears)
    attention = (
        4 * config.num_attention_heads * _head_size(config) * size
    )  # queries, keys and values as attended, and its output
    mlp = (2 if config.model_type == "gpt_neox" else 3) * config.intermediate_size * size
    norms = 2 * config.hidden_size * (2 * 4 + size)
    return int(lora + attention + mlp + norms)


def estimate_pairs(config: PreTrainedConfig, params: Params) -> Estimate:
    """For an encoder-decoder of this config, of which every weight is trained: every row as long as allowed."""
    with torch.device("meta"):
        parameters = AutoModelForSeq2SeqLM.from_config(config).num_parameters()
    training, generation, tokenizer = params.training, params.generation, params.tokenizer
    precision, _ = hardware.choose_precision(training.precision, parameters=parameters)
    size = BYTES[precision]
    batch = 2 if training.debug else training.per_device_train_batch_size
    read, written = batch * tokenizer.max_input_length, batch * tokenizer.max_target_length
    width = config.hidden_size
    layers = getattr(config, "encoder_layers", None) or config.num_layers
    decoder_layers = getattr(config, "decoder_layers", None) or config.num_decoder_layers
    high = getattr(config, "encoder_ffn_dim", None) or config.d_ff * (1.5 if "gated" in config.feed_forward_proj else 1)
    # Of each block the input, what is normalized (float32), and the mask of dropout; of attention queries, keys, values and
    # what it gives; of the feed-forward layer both its widths.
    block = width * (size + 4 + 1)
    attention, feed = block + 4 * width * size, block + 2 * high * size
    activations = layers * read * (attention + feed)
    activations += decoder_layers * (written * (2 * attention + feed) + 2 * read * width * size)
    if "feed_forward_proj" in config.to_dict():  # T5 keeps the scores of its attention: raw, as shares, after dropout, its mask
        reads, writes = tokenizer.max_input_length, tokenizer.max_target_length
        scores = layers * reads**2 + decoder_layers * (writes**2 + writes * reads)
        activations += batch * config.num_heads * scores * (3 * 4 + 1)
        activations += (layers * read + decoder_layers * written) * 2 * high * size
    if training.gradient_checkpointing:
        activations = (layers * read + decoder_layers * written) * width * size + activations // (layers + decoder_layers)
    logits = written * config.vocab_size * (2 * size + 3 * 4)
    weights = parameters * (4 + (2 if precision != "float32" else 0))
    sequences = generation.batch_size * generation.num_beams
    cache = decoder_layers * 2 * width * size * (tokenizer.max_input_length + generation.max_new_tokens)
    decoding = (
        sequences * (cache + config.vocab_size * 4 * 2)
        + generation.batch_size * tokenizer.max_input_length * int(3 * high + 4 * width) * size
    )
    state = parameters * (4 + OPTIMIZER.get(training.optim, 4))
    return Estimate(parameters, weights, state, int(activations), logits, int(decoding))


def base_bytes(params: Params) -> int:
    """Weights of the base that an adapter needs beside it, as they are kept: quantized, the rest in 16 bits."""
    chosen = params.model.qlora
    made_of = layers_of(checkpoints.config_of(checkpoints.locate(chosen.checkpoint, chosen.revision)))
    linears = sum(wide * high for wide, high in made_of.linears)
    each = weight_bytes(chosen.quantization, double=chosen.double_quantization, dtype_bytes=2)
    return int(linears * each + (made_of.parameters - linears) * 2)


def peak_of(params: Params) -> int:
    """The estimated peak in bytes of training and using the chosen model on this machine."""
    chosen, chats = params.model.chosen, params.model.family == "qlora"
    config = checkpoints.config_of(checkpoints.locate(chosen.checkpoint, chosen.revision))
    if chats:
        precision, _ = hardware.choose_precision(params.training.precision, parameters=0, quantized=True)
        return estimate(config, params, precision=precision).peak
    return estimate_pairs(config, params).peak


def advise(config: PreTrainedConfig, params: Params, *, precision: str, free: int, made_of: Layers | None = None) -> str | None:
    """None if it fits into `free` bytes, else what to set so that it does."""
    made_of = made_of or layers_of(config)
    if estimate(config, params, precision=precision, made_of=made_of).peak <= free:
        return None
    training, generation = params.training, params.generation
    batch, accumulation = training.per_device_train_batch_size, training.gradient_accumulation_steps
    changes: dict[str, Any] = {"training": {}, "generation": {}}

    def fits() -> bool:
        tried = params.model_copy(
            update={
                "training": training.model_copy(update=changes["training"]),
                "generation": generation.model_copy(update=changes["generation"]),
            }
        )
        return estimate(config, tried, precision=precision, made_of=made_of).peak <= free

    if not training.gradient_checkpointing:
        changes["training"]["gradient_checkpointing"] = True
    written = generation.batch_size
    while not fits() and (batch > 1 or written > 1):
        if batch > 1:
            batch, accumulation = batch // 2, accumulation * 2
            changes["training"] |= {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation}
        if written > 1:
            written //= 2
            changes["generation"] |= {"batch_size": written}
    settings = [f"{section}.{name}={value}" for section, keys in changes.items() for name, value in keys.items()]
    if fits():
        return "set " + ", ".join(settings)
    if params.model.qlora.quantization != "nf4":
        return "set model.qlora.quantization=nf4"
    return "choose a smaller checkpoint, or shorter tokenizer.max_input_length"


def config_of_shape(shape: dict[str, Any]) -> PreTrainedConfig:
    """A config from a preset's `about.shape`."""
    shape = dict(shape)
    return AutoConfig.for_model(shape.pop("model_type"), **shape)
