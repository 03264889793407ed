"""Compare the kobart family with the recipe of earlier teams and with a plain Hugging Face script: same checkpoint, same rows.

    python -m bench.kobart                              # kobart-tiny on the sample: one epoch, then the whole dev split
    python -m bench.kobart --shape --rows 160 --dev 32  # random weights of KoBART's shape: 124 M parameters
    … --data FOLDER --tokenizer FOLDER                  # with other dialogues, and with KoBART's own tokenizer
    … --recommended                                     # only writing, with penalties: DECODING

padded: Seq2SeqTrainer with all rows padded to 512 and 100 tokens; it writes in file order, 32 rows a batch, with 4 beams.
plain: the defaults of transformers' run_summarization example; each batch is padded to its longest row, in random order.
All contenders have the same batch size, learning rate and schedule, weight decay, number of epochs and label smoothing.
The measures of training are real tokens (dialogue and summary, without padding) a second, and afterwards the loss on dev's
targets, which one function computes for all. The measures of writing are dialogues a second and ROUGE. Random weights (--shape)
learn nothing from so few rows: only their speed counts. ROUGE cannot judge int8 there, so int8 is measured beside float32.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import ROOT, contest

# KoBART's published shape (gogamza/kobart-base-v2's config.json).
SHAPE: dict[str, Any] = {
    "vocab_size": 30_000,
    "d_model": 768,
    "encoder_layers": 6,
    "decoder_layers": 6,
    "encoder_attention_heads": 16,
    "decoder_attention_heads": 16,
    "encoder_ffn_dim": 3072,
    "decoder_ffn_dim": 3072,
    "max_position_embeddings": 1026,
    "pad_token_id": 3,
    "bos_token_id": 1,
    "eos_token_id": 1,
    "decoder_start_token_id": 1,
    "forced_eos_token_id": None,
}
TRAINERS = ["train-yoyak", "train-padded", "train-plain"]
WRITERS = ["write-yoyak", "write-padded"]
PLAIN = "write-transformers"  # yoyak with transformers' generate: rows sorted by length, padded to the longest of their batch
DECODING = {"num_beams": 5, "repetition_penalty": 1.5, "no_repeat_ngram_size": 3, "min_new_tokens": 30}
INT8 = "write-int8"
WARM_UP = 3  # steps; during the first ones, the operating system allocates memory page by page


def prepare(args: argparse.Namespace) -> tuple[Any, Any, dict[str, list[dict[str, Any]]]]:
    """Return the params, the tokenizer, and the processed rows of train and dev."""
    from yoyak.config.params import load_params
    from yoyak.models import tokenizer_loading

    params = load_params(ROOT / "params.yaml", changes=["model.family=kobart"])
    tokenizer = tokenizer_loading.load_tokenizer(str(args.tokenizer or args.checkpoint), None, params.tokenizer.special_tokens)
    rows = contest.rows(args.data, {"train": args.rows, "dev": args.dev}, params.preprocess)
    return params, tokenizer, rows


def model_of(args: argparse.Namespace, tokenizer: Any, folder: Path | None = None) -> Any:
    import torch
    from transformers import BartConfig, BartForConditionalGeneration

    from yoyak.models import encoder_decoder

    if folder or not args.shape:
        return encoder_decoder.load(str(folder or args.checkpoint), None, tokenizer)
    torch.manual_seed(0)
    vocabulary = max(len(tokenizer), SHAPE["vocab_size"])
    model = BartForConditionalGeneration(BartConfig(**{**SHAPE, "vocab_size": vocabulary}))
    encoder_decoder.correct_special_ids(model, tokenizer)
    return model


def encoded(params: Any, tokenizer: Any, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    from yoyak.data import pair_encoding

    inputs = pair_encoding.encode_sources(tokenizer, [row["dialogue"] for row in rows], params.tokenizer.max_input_length)
    targets = pair_encoding.encode_targets(tokenizer, [row["summary"] for row in rows], params.tokenizer.max_target_length)
    pairs = zip(inputs, targets, strict=True)
    return [{"input_ids": a, "labels": b, "length": len(a)} for a, b in pairs]


def train(args: argparse.Namespace, how: str) -> dict[str, Any]:
    import torch
    from datasets import Dataset
    from transformers import DataCollatorForSeq2Seq, Seq2SeqTrainer, Seq2SeqTrainingArguments, set_seed

    from yoyak.data.collation import collate_pairs
    from yoyak.models import encoder_decoder
    from yoyak.system import hardware

    params, tokenizer, rows = prepare(args)
    train_rows, dev = (encoded(params, tokenizer, rows[split]) for split in ("train", "dev"))
    set_seed(args.seed)
    model = model_of(args, tokenizer)
    settings = params.training.model_copy(
        update={"num_train_epochs": 1, "per_device_train_batch_size": args.batch, "seed": args.seed}
    )
    shared_settings = {
        name: getattr(settings, name)
        for name in ("num_train_epochs", "learning_rate", "warmup_steps", "weight_decay", "label_smoothing_factor", "seed")
    }
    collate = collate_pairs(tokenizer, model)
    with tempfile.TemporaryDirectory() as folder:
        if how in ("yoyak", "packed"):
            hardware.configure_cpu(params.hardware.cpu_threads)
            precision, _ = hardware.choose_precision("auto", parameters=model.num_parameters())
            trainer = contest.trainer_of_yoyak(
                model, tokenizer, train_rows, settings=settings, folder=folder, precision=precision, collate=collate
            )
            trainer.splits_batches |= how == "packed"  # on a GPU too
        else:
            data = [{"input_ids": row["input_ids"], "labels": row["labels"]} for row in train_rows]
            if how == "padded":
                data = [padded(row, params.tokenizer, tokenizer.pad_token_id) for row in data]
            trainer = Seq2SeqTrainer(
                model=model,
                args=Seq2SeqTrainingArguments(
                    folder,
                    per_device_train_batch_size=args.batch,
                    report_to="none",
                    save_strategy="no",
                    bf16=how == "plain-bf16",
                    use_cpu=not torch.cuda.is_available(),  # without it transformers refuses bf16 on a CPU
                    **shared_settings,
                ),
                train_dataset=Dataset.from_list(data),
                data_collator=DataCollatorForSeq2Seq(tokenizer, model=model),
                processing_class=tokenizer,
            )
        speed = timed(trainer)
    if args.model and how == "yoyak":
        encoder_decoder.save(model, tokenizer, args.model)
    return {
        **speed,
        "peak_mib": round(contest.peak_mib()),
        "dev_loss": round(contest.dev_loss(model, dev, collate), 4),
    }


def timed(trainer: Any) -> dict[str, float]:
    """Train, and return the seconds and the real tokens a second, with and without the first WARM_UP steps."""
    from transformers import TrainerCallback

    tokens: list[int] = []
    marks: list[float] = []
    collate = trainer.data_collator

    def counted(rows: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = collate(rows)
        tokens.append(int(batch["attention_mask"].sum() + (batch["labels"] != -100).sum()))
        return batch

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            marks.append(time.perf_counter())

    trainer.data_collator = counted
    trainer.add_callback(Clock())
    start = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - start
    first = WARM_UP if len(marks) > WARM_UP else 0
    warm = marks[-1] - (marks[first - 1] if first else start)
    return {
        "seconds": round(seconds, 2),
        "tokens_a_second": round(sum(tokens) / seconds, 1),
        "tokens_a_second_warm": round(sum(tokens[first:]) / warm, 1),
    }


def padded(row: dict[str, list[int]], lengths: Any, pad: int) -> dict[str, list[int]]:
    gap = lengths.max_input_length - len(row["input_ids"])
    return {
        "input_ids": row["input_ids"] + [pad] * gap,
        "attention_mask": [1] * len(row["input_ids"]) + [0] * gap,
        "labels": row["labels"] + [-100] * (lengths.max_target_length - len(row["labels"])),
    }


def write(args: argparse.Namespace, how: str) -> dict[str, Any]:
    """Summarize dev with the model that train-yoyak saved, with the decoding settings of params.yaml or of DECODING."""
    import torch

    from yoyak.data import pair_encoding
    from yoyak.inference import outputs
    from yoyak.inference.backends import transformers
    from yoyak.system import hardware

    params, tokenizer, rows = prepare(args)
    trained = args.model if (args.model / "config.json").is_file() else None
    model = model_of(args, tokenizer, None if args.shape else trained).eval().to(hardware.default_device())
    if args.shape:
        model.final_logits_bias[:, len(tokenizer) :] = -1e4  # the model must not write ids that the tokenizer does not have
    exact = "ctranslate2" if args.shape and not args.recommended and model.device.type == "cpu" else "auto"
    backend = {"int8": "ctranslate2-int8", "transformers": "transformers"}.get(how, exact)
    decoding = DECODING if args.recommended else {}
    settings, dev = params.generation.model_copy(update={"backend": backend, **decoding}), rows["dev"]
    ids = pair_encoding.encode_sources(tokenizer, [row["dialogue"] for row in dev], params.tokenizer.max_input_length)

    def write_padded() -> list[str]:
        model.generation_config = transformers.generation_config(settings, tokenizer, model)
        texts = []
        with torch.inference_mode():
            for start in range(0, len(ids), 32):
                batch = tokenizer.pad(
                    {"input_ids": ids[start : start + 32]},
                    padding="max_length",
                    max_length=params.tokenizer.max_input_length,
                    return_tensors="pt",
                ).to(model.device)
                out = model.generate(**{key: batch[key] for key in ("input_ids", "attention_mask")})
                texts += outputs.decode_tokens(tokenizer, out[:, 1:].tolist())
        return texts

    threads = params.hardware.cpu_threads
    baseline = write_padded if how == "padded" else None
    return contest.write(model, tokenizer, ids, dev, settings=settings, threads=threads, baseline=baseline)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, default=Path("models/base/kobart-tiny"))
    parser.add_argument("--shape", action="store_true", help="random weights of KoBART's published shape")
    parser.add_argument("--tokenizer", type=Path, help="folder of the tokenizer, instead of the checkpoint's own")
    parser.add_argument("--recommended", action="store_true", help=f"only write, with {DECODING}")
    parser.add_argument("--data", type=Path, default=ROOT / "data/sample")
    parser.add_argument("--rows", type=int, default=3600)
    parser.add_argument("--dev", type=int, default=300)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", choices=[*TRAINERS, *WRITERS, PLAIN, INT8], nargs="+")
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        what, _, how = args.one.partition("-")
        contest.print_result((train if what == "train" else write)(args, how))
        return
    with tempfile.TemporaryDirectory() as folder:
        every = [*WRITERS, PLAIN] if args.recommended else [*TRAINERS, *WRITERS, *[INT8] * args.shape]
        names = args.only or every
        results = contest.run_each("bench.kobart", names, [*sys.argv[1:], "--model", f"{folder}/model"])
    results["ratios"] = {
        **contest.ratio(results, "train-yoyak", "train-padded", "tokens_a_second"),
        **contest.ratio(results, "train-yoyak", "train-plain", "tokens_a_second"),
        **contest.ratio(results, "train-yoyak", "train-padded", "tokens_a_second_warm"),
        **contest.ratio(results, "train-yoyak", "train-plain", "tokens_a_second_warm"),
        **contest.ratio(results, "write-yoyak", "write-padded", "dialogues_a_second"),
        **contest.ratio(results, INT8, "write-padded", "dialogues_a_second"),
        **contest.ratio(results, "write-yoyak", PLAIN, "dialogues_a_second"),
        **contest.ratio(results, "write-yoyak", PLAIN, "dialogues_a_cpu_second"),
        **contest.ratio(results, "write-yoyak", "write-padded", "dialogues_a_cpu_second"),
    }
    results |= contest.same_texts(results, "write-yoyak", PLAIN if PLAIN in results else "write-padded")
    results["setting"] = {
        "model": "random weights of KoBART's shape" if args.shape else args.checkpoint.name,
        "data": args.data.name,
        "rows": args.rows,
        "dev": args.dev,
        "batch": args.batch,
        "seed": args.seed,
        **({"decoding": DECODING} if args.recommended else {}),
    }
    parts = {"shape": args.shape, "recommended": args.recommended, args.data.name: args.data.name != "sample"}
    name = "-".join(["kobart", *(part for part, holds in parts.items() if holds)])
    contest.save(args.json or ROOT / f"bench/results/{name}.json", results)


if __name__ == "__main__":
    main()
