"""Estimates of the GPU memory for training and prediction, from a model's config, before any weights are loaded.

The estimates assume that every row is as long as params allow. Shorter data take less.
"""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedConfig

from yoyak.config.sections import Params
from yoyak.config.training_section import Training
from yoyak.models.checkpoints import from_pretrained_arguments, load_config
from yoyak.models.student import student_config
from yoyak.system import hardware

GIB = 2**30
DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
# Bytes of optimizer state for each trained parameter. A paged optimizer can move to RAM, but every step needs it on the GPU.
OPTIMIZER_BYTES = {
    "adamw_torch": 8,
    "adamw_torch_fused": 8,
    "paged_adamw_32bit": 8,
    "adamw_bnb_8bit": 2,
    "paged_adamw_8bit": 2,
}
ALLOCATOR_FACTOR = 1.1  # the CUDA allocator leaves gaps between blocks
CUDA_CONTEXT_BYTES = 0.6 * GIB


@dataclass(frozen=True)
class Estimate:
    """Estimated memory in bytes. `parameters` is a count."""

    parameters: int
    weights: int
    adapter: int  # trained parameters with their gradients and optimizer state
    activations: int  # intermediate results that the backward pass needs
    logits: int
    decoding: int  # the decoder's key-value cache, and the largest layer of one step

    @property
    def training(self) -> int:
        return self.weights + self.adapter + self.activations + self.logits

    @property
    def prediction(self) -> int:
        return self.weights + self.decoding

    @property
    def peak(self) -> int:
        """The larger of training and prediction, plus the memory of CUDA and its allocator."""
        return int(max(self.training, self.prediction) * ALLOCATOR_FACTOR + CUDA_CONTEXT_BYTES)


@dataclass(frozen=True)
class LayerSizes:
    """The size of a decoder-only model."""

    parameters: int
    linears: list[tuple[int, int]]  # (in_features, out_features) of each linear layer except the output layer
    tied: bool  # whether the output layer shares the weights of the input embedding


def layer_sizes(config: PreTrainedConfig) -> LayerSizes:
    """The layer sizes of a decoder-only model, found by building it without values (device "meta")."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    linears = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not head]
    return LayerSizes(
        model.num_parameters(), [(m.in_features, m.out_features) for m in linears], head.weight is embedding.weight
    )


def bytes_per_weight(quantization: str, *, double: bool, dtype_bytes: int) -> float:
    """Bytes of one quantized weight.

    NF4 stores 4 bits and one scale for 64 weights. The scale has 4 bytes. With double quantization it has 1 byte, and 256
    scales share 4 bytes more (Dettmers et al. 2023, arXiv:2305.14314, section 3). int8 has one scale for each row.
    """
    if quantization == "nf4":
        return 0.5 + (1 / 64 + 4 / (64 * 256) if double else 4 / 64)
    return 1.0 if quantization == "int8" else float(dtype_bytes)


def _rows_in_memory(training: Training) -> int:
    """Rows whose activations a training step holds at the same time. `training.debug` always uses batches of two."""
    rows = 2 if training.debug else training.per_device_train_batch_size
    samples = training.objective.reward_samples
    passes = {"r_drop": 2, "r3f": 2, "self_critical": 1 + samples, "minimum_risk": 2 + samples}  # with the reference
    return rows * passes.get(training.objective.name, 1)


def _average_bytes(training: Training) -> int:
    """Bytes of each trained parameter's moving average."""
    return 4 if training.ema_decay else 0


def estimate_causal_lm(
    config: PreTrainedConfig, params: Params, *, precision: str, sizes: LayerSizes | None = None
) -> Estimate:
    """Estimate for a decoder-only model that is quantized and trained with a LoRA.

    Args:
        config: the model's config.
        params: sections model.qlora, tokenizer, training, lora and generation are used.
        precision: "float32", "bfloat16" or "float16", for everything that is not quantized.
        sizes: the result of `layer_sizes(config)`, if the caller has it already.
    """
    sizes = sizes or layer_sizes(config)
    linears, parameters = sizes.linears, sizes.parameters
    size, settings, tokenizer, training = DTYPE_BYTES[precision], params.model.qlora, params.tokenizer, params.training
    quantized = sum(inputs * outputs for inputs, outputs in linears)
    weight_bytes = bytes_per_weight(settings.quantization, double=settings.double_quantization, dtype_bytes=size)
    # While a layer is computed, a dequantized copy of it is in memory. The largest layer counts.
    dequantized = max(inputs * outputs for inputs, outputs in linears) * size if settings.quantization != "none" else 0
    weights = int(quantized * weight_bytes + (parameters - quantized) * size + dequantized)

    width, layers = config.hidden_size, config.num_hidden_layers
    token_rows = len(tokenizer.special_tokens) * width * (1 if sizes.tied else 2)
    trained = token_rows + sum(params.lora.r * (inputs + outputs) for inputs, outputs in linears)
    adapter = trained * (4 + 4 + OPTIMIZER_BYTES.get(training.optim, 4) + _average_bytes(training))

    batch = _rows_in_memory(training)
    tokens = batch * (tokenizer.max_input_length + tokenizer.max_target_length)
    one_layer = linears[: len(linears) // layers]
    layer = _layer_activations(config, one_layer, size=size, dropout=params.lora.lora_dropout > 0, r=params.lora.r)
    activations = tokens * (layers * width * size + layer if training.gradient_checkpointing else layers * layer)
    # The logits, also in float32, their log-probabilities and the gradients of these; label smoothing makes two more copies.
    smoothing = 2 * 4 if training.label_smoothing_factor else 0
    logits = batch * tokenizer.max_target_length * config.vocab_size * (2 * size + 3 * 4 + smoothing)

    generation = params.generation
    sequences = generation.batch_size * generation.num_beams
    key_values = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    cached_tokens = tokenizer.max_input_length + generation.max_new_tokens
    cache = layers * 2 * key_values * _head_size(config) * size * cached_tokens
    widest_layer = tokenizer.max_input_length * (3 * config.intermediate_size + 4 * width) * size
    decoding = sequences * (cache + widest_layer + config.vocab_size * 4 * 2)
    return Estimate(parameters, weights, adapter, int(activations), logits, decoding)


def _head_size(config: PreTrainedConfig) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def _layer_activations(config: PreTrainedConfig, linears: list[tuple[int, int]], *, size: int, dropout: bool, r: int) -> int:
    """Bytes that one layer keeps of one token for the backward pass."""
    # With dropout, each LoRA keeps its own input and a mask; without it, they share the input. Each also keeps the output of A.
    lora = sum(inputs * ((size + 1) if dropout else 0) + r * size for inputs, _ in linears)
    attention = 4 * config.num_attention_heads * _head_size(config) * size  # queries, keys, values, and the output
    mlp = (2 if config.model_type == "gpt_neox" else 3) * config.intermediate_size * size
    norms = 2 * config.hidden_size * (2 * 4 + size)
    return int(lora + attention + mlp + norms)


def estimate_encoder_decoder(config: PreTrainedConfig, params: Params) -> Estimate:
    """Estimate for an encoder-decoder whose weights are all trained.

    Args:
        config: the model's config.
        params: sections tokenizer, training and generation are used.
    """
    with torch.device("meta"):
        parameters = AutoModelForSeq2SeqLM.from_config(config).num_parameters()
    training, generation, tokenizer = params.training, params.generation, params.tokenizer
    precision, _ = hardware.choose_precision(training.precision, parameters=parameters)
    size = DTYPE_BYTES[precision]
    width = config.hidden_size
    encoder_layers = getattr(config, "encoder_layers", None) or config.num_layers
    decoder_layers = getattr(config, "decoder_layers", None) or config.num_decoder_layers
    feed_forward = getattr(config, "encoder_ffn_dim", None) or config.d_ff * (1.5 if "gated" in config.feed_forward_proj else 1)
    batch = _rows_in_memory(training)
    source_tokens, target_tokens = batch * tokenizer.max_input_length, batch * tokenizer.max_target_length

    # Each block keeps its input, the normalized input (float32) and the dropout mask; attention keeps queries, keys, values and
    # its output; the feed-forward layer keeps both of its widths.
    block = width * (size + 4 + 1)
    attention, feed = block + 4 * width * size, block + 2 * feed_forward * size
    activations = encoder_layers * source_tokens * (attention + feed)
    activations += decoder_layers * (target_tokens * (2 * attention + feed) + 2 * source_tokens * width * size)
    if "feed_forward_proj" in config.to_dict():  # T5 keeps attention scores: raw, normalized, after dropout, and the mask
        sources, targets = tokenizer.max_input_length, tokenizer.max_target_length
        scores = encoder_layers * sources**2 + decoder_layers * (targets**2 + targets * sources)
        activations += batch * config.num_heads * scores * (3 * 4 + 1)
        activations += (encoder_layers * source_tokens + decoder_layers * target_tokens) * 2 * feed_forward * size
    if training.gradient_checkpointing:
        inputs = (encoder_layers * source_tokens + decoder_layers * target_tokens) * width * size
        activations = inputs + activations // (encoder_layers + decoder_layers)

    logits = target_tokens * config.vocab_size * (2 * size + 3 * 4)
    weights = parameters * (4 + (2 if precision != "float32" else 0))
    sequences = generation.batch_size * generation.num_beams
    cache = decoder_layers * 2 * width * size * (tokenizer.max_input_length + generation.max_new_tokens)
    widest_layer = generation.batch_size * tokenizer.max_input_length * int(3 * feed_forward + 4 * width) * size
    decoding = sequences * (cache + config.vocab_size * 4 * 2) + widest_layer
    trained = parameters * (4 + OPTIMIZER_BYTES.get(training.optim, 4) + _average_bytes(training))
    return Estimate(parameters, weights, trained, int(activations), logits, int(decoding))


def base_model_bytes(params: Params) -> int:
    """Bytes of the base model of an adapter: linear layers quantized as in params, everything else in 16 bits."""
    chosen = params.model.qlora
    sizes = layer_sizes(load_config(from_pretrained_arguments(chosen.checkpoint, chosen.revision)))
    linears = sum(inputs * outputs for inputs, outputs in sizes.linears)
    weight_bytes = bytes_per_weight(chosen.quantization, double=chosen.double_quantization, dtype_bytes=2)
    return int(linears * weight_bytes + (sizes.parameters - linears) * 2)


def estimate_for_params(params: Params) -> Estimate:
    """Estimate for training and prediction with the chosen model on this machine.

    Args:
        params: sections model, tokenizer, training, lora and generation.

    Raises:
        YoyakError: if the config of the checkpoint cannot be loaded.
    """
    chosen = params.model.chosen
    config = load_config(from_pretrained_arguments(chosen.checkpoint, chosen.revision))
    if config.is_encoder_decoder:
        if (layers := params.model.kobart.decoder_layers) is not None:
            config = student_config(config, chosen.checkpoint, layers)
        return estimate_encoder_decoder(config, params)
    precision, _ = hardware.choose_precision(params.training.precision, parameters=0, quantized=True)
    return estimate_causal_lm(config, params, precision=precision)


def advise(
    config: PreTrainedConfig, params: Params, *, precision: str, free: int, sizes: LayerSizes | None = None
) -> str | None:
    """What to change in params so that a decoder-only model fits into memory.

    Args:
        config: the model's config.
        params: as `estimate_causal_lm` uses them.
        precision: as for `estimate_causal_lm`.
        free: bytes that are available.
        sizes: the result of `layer_sizes(config)`, if the caller has it already.

    Returns:
        None if it already fits. Otherwise a text such as "set training.per_device_train_batch_size=4, …". Each time the
        training batch is halved, gradient accumulation is doubled, so that a step still has the same number of rows.
    """
    sizes = sizes or layer_sizes(config)
    training, generation = params.training, params.generation
    batch, accumulation = training.per_device_train_batch_size, training.gradient_accumulation_steps
    changes: dict[str, dict[str, Any]] = {"training": {}, "generation": {}}

    def fits() -> bool:
        changed = params.model_copy(
            update={
                "training": training.model_copy(update=changes["training"]),
                "generation": generation.model_copy(update=changes["generation"]),
            }
        )
        return estimate_causal_lm(config, changed, precision=precision, sizes=sizes).peak <= free

    if fits():
        return None
    if not training.gradient_checkpointing:
        changes["training"]["gradient_checkpointing"] = True
    predicted = generation.batch_size
    while not fits() and (batch > 1 or predicted > 1):
        if batch > 1:
            batch, accumulation = batch // 2, accumulation * 2
            changes["training"] |= {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation}
        if predicted > 1:
            predicted //= 2
            changes["generation"] |= {"batch_size": predicted}
    settings = [f"{section}.{name}={value}" for section, keys in changes.items() for name, value in keys.items()]
    if fits():
        return "set " + ", ".join(settings)
    if params.model.qlora.quantization != "nf4":
        return "set model.qlora.quantization=nf4"
    return "choose a smaller checkpoint, or a shorter tokenizer.max_input_length"


def config_from_shape(shape: dict[str, Any]) -> PreTrainedConfig:
    """Make a config from `about.shape` of a preset, which has the model type and the config keys for its size."""
    shape = dict(shape)
    return AutoConfig.for_model(shape.pop("model_type"), **shape)
