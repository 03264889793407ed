"""Fine-tune the encoder-decoder, if the family is chosen."""

from functools import partial
from pathlib import Path

from yoyak.config.params import load_params
from yoyak.system.errors import exit_with_message
from yoyak.system.integrity import verify_checksums
from yoyak.system.skip_note import write_skip_note


def main(tokenized: Path, output: Path, metrics: Path) -> None:
    params = load_params()
    if params.model.family != "kobart":
        hint = f"nothing to do, model.family is {params.model.family} (-S model.family=kobart chooses this)"
        write_skip_note("not-chosen.txt", f"train_kobart: {hint}", output, metrics)
        return
    if params.search.pruned:
        write_skip_note("pruned.txt", f"train_kobart: pruned: {params.search.pruned}", output, metrics)
        return

    from transformers import set_seed

    from yoyak.data import collation, tokenization
    from yoyak.models import checkpoints, encoder_decoder
    from yoyak.system import hardware, resumable
    from yoyak.training import fit

    settings, chosen = params.training, params.model.kobart
    set_seed(settings.seed)
    hardware.configure_cpu(params.hardware.cpu_threads)
    verify_checksums(tokenized)
    splits = tokenization.load(tokenized)
    tokenizer = checkpoints.load_tokenizer(chosen.checkpoint, chosen.revision, params.tokenizer.special_tokens)
    model = encoder_decoder.load(chosen.checkpoint, chosen.revision, tokenizer)
    precision, why = hardware.choose_precision(settings.precision, parameters=model.num_parameters())
    print(f"{chosen.checkpoint}: {model.num_parameters():,} parameters, {precision} ({why})", flush=True)
    read = {"model": chosen, "tokenizer": params.tokenizer, "training": settings, "hardware": params.hardware}
    with resumable.work_folder("train_kobart", read, [tokenized, Path(chosen.checkpoint)]) as unfinished:
        fit.fit(
            model,
            tokenizer,
            splits,
            collate=collation.collate_pairs(tokenizer, model),
            training=settings,
            max_target_length=params.tokenizer.max_target_length,
            precision=precision,
            checkpoints=unfinished,
            metrics=metrics,
            output=output,
            save=partial(encoder_decoder.save, model, tokenizer),
        )


if __name__ == "__main__":
    with exit_with_message():
        main(Path("data/tokenized"), Path("models/kobart"), Path("metrics/train/kobart"))
