"""The models and batches of the checks: the two checkpoints of models/base, and rows of the sample."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from bench import ROOT, contest

KOBART, LLAMA = ROOT / "models/base/kobart-tiny", ROOT / "models/base/llama-tiny"


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def params_of(family: str, *changes: str) -> Any:
    from yoyak.config.params import load_params

    checkpoints = (f"model.kobart.checkpoint={KOBART}", f"model.qlora.checkpoint={LLAMA}")
    return load_params(ROOT / "params.yaml", changes=[f"model.family={family}", *checkpoints, *changes])


def rows_of(params: Any, count: int, split: str = "train") -> list[dict[str, Any]]:
    return contest.rows(ROOT / "data/sample", {split: count}, params.preprocess)[split]


def encoded_rows(params: Any, tokenizer: Any, count: int) -> list[dict[str, Any]]:
    """The first rows of the sample's train split as the family of `params` reads them: input_ids, labels and length."""
    from bench import kobart as kobart_bench
    from bench import qlora as qlora_bench

    rows = rows_of(params, count)
    if params.model.family == "kobart":
        return kobart_bench.encoded(params, tokenizer, rows)
    return qlora_bench.encoded(params, tokenizer, rows, "train")


def kobart(count: int) -> tuple[Any, Any, list[dict[str, Any]]]:
    """kobart-tiny in float32 on the CPU without dropout, its tokenizer, and encoded rows."""
    from yoyak.models import encoder_decoder, tokenizer_loading

    params = params_of("kobart")
    tokenizer = tokenizer_loading.load_tokenizer(str(KOBART), None, params.tokenizer.special_tokens)
    model = encoder_decoder.load(str(KOBART), None, tokenizer)
    return without_dropout(model), tokenizer, encoded_rows(params, tokenizer, count)


def llama(count: int, quantization: str = "none", *, precision: str = "float32") -> tuple[Any, Any, list[dict[str, Any]]]:
    """llama-tiny with a LoRA whose matrices are random, its tokenizer, and encoded rows. It is on the GPU if there is one."""
    from yoyak.models import causal_lm, lora, tokenizer_loading

    params = params_of("qlora", f"model.qlora.quantization={quantization}", "model.qlora.attention=sdpa")
    chosen = params.model.qlora
    tokenizer = tokenizer_loading.load_tokenizer(chosen.checkpoint, None, params.tokenizer.special_tokens, pad_with_eos=True)
    base, new = causal_lm.load(chosen, tokenizer, precision=precision)
    torch.manual_seed(0)
    model: Any = lora.add_lora(base, params.lora, new_tokens=new, settings=chosen)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:  # zeros at first, for which the gradients of lora_A are zero too
                parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name))) * 0.02)
    return without_dropout(model), tokenizer, encoded_rows(params, tokenizer, count)


def without_dropout(model: Any) -> Any:
    """The model in training mode, in which it draws nothing at random."""
    for module in model.modules():
        for name in ("dropout", "p", "attention_dropout", "activation_dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    return model.train()


def batch_of(model: Any, tokenizer: Any, rows: list[dict[str, Any]], *, padding_free: bool = False) -> dict[str, Any]:
    """One batch of rows with different lengths, on the CPU."""
    from yoyak.data.collation import collate_chats, collate_pairs

    if model.config.is_encoder_decoder:
        return collate_pairs(tokenizer, model)(rows)
    return collate_chats(tokenizer.pad_token_id, padding_free=padding_free)(rows)


def moved(batch: dict[str, Any], place: torch.device) -> dict[str, Any]:
    return {name: value.to(place) if isinstance(value, torch.Tensor) else value for name, value in batch.items()}


def loss_and_gradients(
    model: Any, batch: dict[str, Any], *, precision: str = "float32"
) -> tuple[float, dict[str, torch.Tensor]]:
    """The loss of a batch, and the gradient of each trained parameter in float64 on the CPU.

    With float16 the loss is scaled as GradScaler does, and the gradients are divided by the scale.
    """
    model.zero_grad()
    place = next(model.parameters()).device
    with torch.autocast(place.type, getattr(torch, precision), enabled=precision in ("bfloat16", "float16")):
        loss = model(**moved(batch, place)).loss
    scale = 2.0**12 if precision == "float16" else 1.0
    (loss * scale).backward()
    gradients = {
        name: parameter.grad.detach().double().cpu() / scale
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and parameter.grad is not None
    }
    return float(loss.detach()), gradients


def in_float64(model: Any) -> Any:
    """A copy on the CPU, in float64."""
    return copy.deepcopy(model).cpu().double()


def difference(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    """The norm of the difference of all gradients together, divided by the norm of the expected ones."""
    if set(found) != set(expected):
        raise ValueError(f"gradients are missing: {sorted(set(found) ^ set(expected))[:3]}")
    gap = sum(float((found[name] - value).square().sum()) for name, value in expected.items())
    return float((gap / sum(float(value.square().sum()) for value in expected.values())) ** 0.5)


@contextmanager
def tf32(enabled: bool) -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = enabled
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
