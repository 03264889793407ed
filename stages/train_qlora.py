"""Train a LoRA adapter on a quantized decoder-only model, if the family is chosen."""

import shutil
from pathlib import Path

from yoyak.errors import told
from yoyak.files import leave_note, whole_folder, write_json
from yoyak.params import load


def main(tokenized: Path, output: Path, metrics: Path, checkpoints: Path) -> None:
    params = load()
    if params.model.family != "qlora":
        hint = f"nothing to do, model.family is {params.model.family} (-S model.family=qlora chooses this)"
        leave_note("not-chosen.txt", f"train_qlora: {hint}", output, metrics)
        return
    if params.search.pruned:
        leave_note("pruned.txt", f"train_qlora: pruned: {params.search.pruned}", output, metrics)
        return

    from dvclive import Live
    from transformers import set_seed

    from yoyak import adapter, checkpoint, encoding, hardware, pruning, training

    settings, chosen, special = params.training, params.model.qlora, params.tokenizer.special_tokens
    set_seed(settings.seed)
    splits = encoding.load(tokenized)
    tokenizer = checkpoint.load_tokenizer(chosen.checkpoint, chosen.revision, special, pad_with_eos=True)
    precision, why = hardware.choose_precision(settings.precision, parameters=0, quantized=True)
    attention, why_attention = hardware.choose_attention(chosen.attention, precision=precision)
    base, new_tokens = adapter.load_base(chosen, tokenizer, precision=precision)
    model = adapter.add_lora(base, params.lora, new_tokens=new_tokens, settings=chosen)
    print(f"{chosen.checkpoint}: {chosen.quantization}, {precision} ({why}), {attention} ({why_attention})", flush=True)
    print(adapter.describe(model), flush=True)
    args = training.arguments(settings, folder=checkpoints, precision=precision)
    flat = chosen.padding_free == "always" or (chosen.padding_free == "auto" and attention == "flash_attention_2")
    shutil.rmtree(checkpoints, ignore_errors=True)
    try:
        with whole_folder(output) as model_folder, whole_folder(metrics) as metrics_folder:
            with Live(str(metrics_folder), save_dvc_exp=False, dvcyaml=None) as live:
                reached = training.train(
                    model,
                    tokenizer,
                    splits,
                    collate=training.collate_chats(tokenizer.pad_token_id, padding_free=flat),
                    args=args,
                    training=settings,
                    max_target_length=params.tokenizer.max_target_length,
                    callbacks=[training.LiveLog(live), *pruning.reports()],
                )
            adapter.save(model, tokenizer, model_folder, settings=chosen, precision=precision)
            write_json(metrics_folder / "arguments.json", {**reached, **training.resolved(args)})
    finally:
        shutil.rmtree(checkpoints, ignore_errors=True)


if __name__ == "__main__":
    with told():
        main(Path("data/tokenized"), Path("models/qlora"), Path("metrics/train/qlora"), Path(".checkpoints/qlora"))
