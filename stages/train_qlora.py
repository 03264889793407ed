"""Train a LoRA adapter on a quantized decoder-only model, if the family is chosen."""

from functools import partial
from pathlib import Path

from yoyak.config.params import load_params
from yoyak.system.errors import exit_with_message
from yoyak.system.integrity import verify_checksums
from yoyak.system.skip_note import write_skip_note


def main(tokenized: Path, output: Path, metrics: Path) -> None:
    params = load_params()
    if params.model.family != "qlora":
        hint = f"nothing to do, model.family is {params.model.family} (-S model.family=qlora chooses this)"
        write_skip_note("not-chosen.txt", f"train_qlora: {hint}", output, metrics)
        return
    if params.search.pruned:
        write_skip_note("pruned.txt", f"train_qlora: pruned: {params.search.pruned}", output, metrics)
        return

    from transformers import set_seed

    from yoyak.data import collation, tokenization
    from yoyak.models import checkpoints, lora
    from yoyak.system import hardware, resumable
    from yoyak.training import fit

    settings, chosen, special = params.training, params.model.qlora, params.tokenizer.special_tokens
    set_seed(settings.seed)
    hardware.configure_cpu(params.hardware.cpu_threads)
    verify_checksums(tokenized)
    splits = tokenization.load(tokenized)
    tokenizer = checkpoints.load_tokenizer(chosen.checkpoint, chosen.revision, special, pad_with_eos=True)
    precision, why = hardware.choose_precision(settings.precision, parameters=0, quantized=True)
    attention, why_attention = hardware.choose_attention(chosen.attention, precision=precision)
    base, new_tokens = lora.load_base(chosen, tokenizer, precision=precision)
    model = lora.add_lora(base, params.lora, new_tokens=new_tokens, settings=chosen)
    print(f"{chosen.checkpoint}: {chosen.quantization}, {precision} ({why}), {attention} ({why_attention})", flush=True)
    print(lora.describe(model), flush=True)
    flat = chosen.padding_free == "always" or (chosen.padding_free == "auto" and attention == "flash_attention_2")
    read = {
        "model": chosen,
        "tokenizer": params.tokenizer,
        "training": settings,
        "hardware": params.hardware,
        "lora": params.lora,
    }
    with resumable.work_folder("train_qlora", read, [tokenized, Path(chosen.checkpoint)]) as unfinished:
        fit.fit(
            model,
            tokenizer,
            splits,
            collate=collation.collate_chats(tokenizer.pad_token_id, padding_free=flat),
            training=settings,
            max_target_length=params.tokenizer.max_target_length,
            precision=precision,
            checkpoints=unfinished,
            metrics=metrics,
            output=output,
            save=partial(lora.save, model, tokenizer, settings=chosen, precision=precision),
        )


if __name__ == "__main__":
    with exit_with_message():
        main(Path("data/tokenized"), Path("models/qlora"), Path("metrics/train/qlora"))
