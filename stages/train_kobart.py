"""Fine-tune the encoder-decoder, if the family is chosen."""

import shutil
from pathlib import Path

from yoyak.errors import told
from yoyak.files import leave_note, whole_folder, write_json
from yoyak.params import load


def main(tokenized: Path, output: Path, metrics: Path, checkpoints: Path) -> None:
    params = load()
    if params.model.family != "kobart":
        hint = f"nothing to do, model.family is {params.model.family} (-S model.family=kobart chooses this)"
        leave_note("not-chosen.txt", f"train_kobart: {hint}", output, metrics)
        return
    if params.search.pruned:
        leave_note("pruned.txt", f"train_kobart: pruned: {params.search.pruned}", output, metrics)
        return

    from dvclive import Live
    from transformers import set_seed

    from yoyak import checkpoint, encoding, hardware, pruning, training

    settings, chosen = params.training, params.model.kobart
    set_seed(settings.seed)
    splits = encoding.load(tokenized)
    tokenizer = checkpoint.load_tokenizer(chosen.checkpoint, chosen.revision, params.tokenizer.special_tokens)
    model = checkpoint.load_seq2seq(chosen.checkpoint, chosen.revision, tokenizer)
    precision, why = hardware.choose_precision(settings.precision, parameters=model.num_parameters())
    print(f"{chosen.checkpoint}: {model.num_parameters():,} parameters, {precision} ({why})", flush=True)
    args = training.arguments(settings, folder=checkpoints, precision=precision)
    shutil.rmtree(checkpoints, ignore_errors=True)
    try:
        with whole_folder(output) as model_folder, whole_folder(metrics) as metrics_folder:
            with Live(str(metrics_folder), save_dvc_exp=False, dvcyaml=None) as live:
                reached = training.train(
                    model,
                    tokenizer,
                    splits,
                    collate=training.collate_pairs(tokenizer, model),
                    args=args,
                    training=settings,
                    max_target_length=params.tokenizer.max_target_length,
                    callbacks=[training.LiveLog(live), *pruning.reports()],
                )
            checkpoint.save(model, tokenizer, model_folder)
            write_json(metrics_folder / "arguments.json", {**reached, **training.resolved(args)})
    finally:
        shutil.rmtree(checkpoints, ignore_errors=True)


if __name__ == "__main__":
    with told():
        main(Path("data/tokenized"), Path("models/kobart"), Path("metrics/train/kobart"), Path(".checkpoints/kobart"))
