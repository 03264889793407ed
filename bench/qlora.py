"""Compare the qlora family with TRL's SFTTrainer (one epoch) and with a plain generate() in file order.

    python -m bench.qlora --rows 800 --dev 128

Every contender runs in a process of its own, with the same base in NF4 and the same LoRA, rows, batch size, epochs and
learning rate. trl has TRL's defaults: the backward pass computes the activations again. trl-keeping keeps the activations, as
yoyak does here. trl-padded pads to max_input_length + max_target_length. The measures of training are real tokens (prompt and
target, without padding) a second, the peak memory of the process, and afterwards the loss on the same dev targets, which one
function computes for all. Writes bench/results/qlora.json.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import ROOT, contest

CONTENDERS = ["yoyak", "trl", "trl-keeping", "trl-padded", "write-yoyak", "write-plain", "write-merged"]


def prepare(args: argparse.Namespace) -> tuple[Any, Any, dict[str, list[dict[str, Any]]]]:
    """Return the params, the tokenizer, and the processed rows of train and dev."""
    from yoyak.config.params import load_params
    from yoyak.models import tokenizer_loading

    params = load_params(ROOT / "params.yaml", changes=["model.family=qlora", f"model.qlora.checkpoint={args.checkpoint}"])
    chosen = params.model.qlora
    tokenizer = tokenizer_loading.load_tokenizer(chosen.checkpoint, None, params.tokenizer.special_tokens, pad_with_eos=True)
    rows = contest.rows(args.data, {"train": args.rows, "dev": args.dev}, params.preprocess)
    return params, tokenizer, rows


def encoded(params: Any, tokenizer: Any, rows: list[dict[str, Any]], split: str) -> list[dict[str, Any]]:
    from yoyak.models.families.lookup import family_named

    encode = family_named("qlora").batch_encoders(tokenizer, params, [{}])[split]
    columns = encode({key: [row.get(key, "") for row in rows] for key in ("fname", "dialogue", "summary", "topic")})
    names = ("input_ids", "labels", "length")
    return [dict(zip(names, cells, strict=True)) for cells in zip(*(columns[name] for name in names), strict=True)]


def tuned(args: argparse.Namespace, params: Any, tokenizer: Any) -> Any:
    """The model that is trained: of the checkpoint, or what `args.make_model` makes (bench.gpu)."""
    if hasattr(args, "make_model"):
        return args.make_model(params, tokenizer)
    import torch

    from yoyak.models import causal_lm, lora
    from yoyak.system import hardware

    precision, _ = hardware.choose_precision("auto", parameters=0, quantized=True)
    base, new = causal_lm.load(params.model.qlora, tokenizer, precision=precision)
    torch.manual_seed(0)
    return lora.add_lora(base, params.lora, new_tokens=new, settings=params.model.qlora)


def loss_of(model: Any, tokenizer: Any, dev: list[dict[str, Any]]) -> float:
    from yoyak.data.collation import collate_chats

    return contest.dev_loss(model, dev, collate_chats(tokenizer.pad_token_id, padding_free=False))


def train_yoyak(args: argparse.Namespace) -> dict[str, Any]:
    from yoyak.data.collation import collate_chats
    from yoyak.models import adapters
    from yoyak.system import hardware

    params, tokenizer, rows = prepare(args)
    train, dev = (encoded(params, tokenizer, rows[split], split) for split in ("train", "dev"))
    model = tuned(args, params, tokenizer)
    hardware.configure_cpu(params.hardware.cpu_threads)
    precision, _ = hardware.choose_precision("auto", parameters=0, quantized=True)
    with tempfile.TemporaryDirectory() as folder:
        settings = params.training.model_copy(
            update={"num_train_epochs": 1, "per_device_train_batch_size": args.batch, "label_smoothing_factor": 0.0}
        )
        collate = collate_chats(tokenizer.pad_token_id, padding_free=getattr(args, "padding_free", False))
        trainer = contest.trainer_of_yoyak(
            model, tokenizer, train, settings=settings, folder=folder, precision=precision, collate=collate
        )
        result = timed(trainer, train, lambda: loss_of(model, tokenizer, dev))
    if args.adapter:
        args.adapter.mkdir(parents=True)
        adapters.save(model, tokenizer, args.adapter, settings=params.model.qlora, precision=precision)
    return result


def train_trl(args: argparse.Namespace, *, padded: bool, keeping: bool) -> dict[str, Any]:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    params, tokenizer, rows = prepare(args)
    train, dev = (encoded(params, tokenizer, rows[split], split) for split in ("train", "dev"))
    model = tuned(args, params, tokenizer)
    longest = params.tokenizer.max_input_length + params.tokenizer.max_target_length
    # The rows are tokenized: SFTTrainer takes input_ids with a mask of the tokens to learn, and its defaults for the rest.
    data = Dataset.from_list(
        [{"input_ids": row["input_ids"], "completion_mask": [int(to != -100) for to in row["labels"]]} for row in train]
    )
    settings = params.training
    with tempfile.TemporaryDirectory() as folder:
        config = SFTConfig(
            output_dir=folder,
            num_train_epochs=1,
            per_device_train_batch_size=args.batch,
            learning_rate=settings.learning_rate,
            warmup_steps=settings.warmup_steps,
            weight_decay=settings.weight_decay,
            seed=settings.seed,
            completion_only_loss=True,
            max_length=longest,
            report_to="none",
            save_strategy="no",
            **({"pad_to_multiple_of": longest} if padded else {}),
            **({"activation_checkpointing": False, "gradient_checkpointing": False} if keeping else {}),
            **({} if _gpu() else {"use_cpu": True, "bf16": False}),
        )
        trainer = SFTTrainer(model=model, args=config, train_dataset=data, processing_class=tokenizer)
        result = timed(trainer, train, lambda: loss_of(trainer.model, tokenizer, dev))
        defaults = ("gradient_checkpointing", "activation_checkpointing", "packing", "padding_free", "loss_type")
        return result | {"settings": {name: getattr(config, name) for name in defaults if hasattr(config, name)}}


def _gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def timed(trainer: Any, train: list[dict[str, Any]], loss: Any) -> dict[str, Any]:
    loaded = contest.peak_mib()
    start = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - start
    peak = contest.peak_mib()
    tokens = sum(len(row["input_ids"]) for row in train)
    return {
        "seconds": round(seconds, 2),
        "tokens_a_second": round(tokens / seconds, 1),
        "peak_mib": round(peak),
        "peak_over_loaded_mib": round(peak - loaded),
        "dev_loss": round(loss(), 4),
    }


def write(args: argparse.Namespace, how: str) -> dict[str, Any]:
    """Summarize dev greedily with the adapter that yoyak left: `plain` on its NF4 base, `merged` on the merged weights."""
    import torch

    from yoyak.inference import outputs
    from yoyak.inference.backends import transformers
    from yoyak.models import adapters, causal_lm
    from yoyak.models.families.base import LoadedModel
    from yoyak.models.families.lookup import family_named
    from yoyak.system import hardware

    params, tokenizer, rows = prepare(args)
    if how == "plain":
        precision, _ = hardware.choose_precision("auto", parameters=0, quantized=True)
        base, _ = causal_lm.load(params.model.qlora, tokenizer, precision=precision)
        model: Any = adapters.attach(base, args.adapter)
    else:
        model, tokenizer = adapters.load(args.adapter)
    settings, dev = params.generation.model_copy(update={"num_beams": 1, "batch_size": 32, "max_new_tokens": 60}), rows["dev"]
    family = family_named("qlora")
    ids = [row.ids for row in family.encode(dev, LoadedModel("qlora", model, tokenizer), params, names_topic=False)]

    def write_in_file_order() -> list[str]:
        model.generation_config = transformers.generation_config(settings, tokenizer, model)
        texts = []
        with torch.inference_mode():
            for start in range(0, len(ids), 32):
                rows = {"input_ids": ids[start : start + 32]}
                batch = tokenizer.pad(rows, padding_side="left", return_tensors="pt").to(model.device)
                out = model.generate(**{key: batch[key] for key in ("input_ids", "attention_mask")})
                texts += outputs.decode_tokens(tokenizer, out[:, batch["input_ids"].shape[1] :].tolist())
        return texts

    threads = params.hardware.cpu_threads
    chosen = None if how == "yoyak" else write_in_file_order
    return contest.write(model, tokenizer, ids, dev, settings=settings, threads=threads, baseline=chosen)


def run(name: str, args: argparse.Namespace) -> dict[str, Any]:
    if name == "yoyak":
        return train_yoyak(args)
    if name.startswith("trl"):
        return train_trl(args, padded=name == "trl-padded", keeping=name == "trl-keeping")
    return write(args, name.removeprefix("write-"))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--checkpoint", default="models/base/llama-tiny")
    parser.add_argument("--data", type=Path, default=ROOT / "data/sample")
    parser.add_argument("--rows", type=int, default=800)
    parser.add_argument("--dev", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--json", type=Path, default=ROOT / "bench/results/qlora.json")
    parser.add_argument("--only", choices=CONTENDERS, nargs="+", default=CONTENDERS)
    parser.add_argument("--adapter", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        contest.print_result(run(args.one, args))
        return
    with tempfile.TemporaryDirectory() as folder:
        results = contest.run_each("bench.qlora", args.only, [*sys.argv[1:], "--adapter", f"{folder}/adapter"])
    results["ratios"] = {
        **contest.ratio(results, "yoyak", "trl", "tokens_a_second"),
        **contest.ratio(results, "yoyak", "trl-keeping", "tokens_a_second"),
        **contest.ratio(results, "yoyak", "trl-padded", "tokens_a_second"),
        **contest.ratio(results, "yoyak", "trl", "peak_mib"),
        **contest.ratio(results, "yoyak", "trl-keeping", "peak_mib"),
        **contest.ratio(results, "yoyak", "trl-padded", "peak_mib"),
        **contest.ratio(results, "write-yoyak", "write-plain", "dialogues_a_second"),
        **contest.ratio(results, "write-yoyak", "write-merged", "dialogues_a_second"),
    }
    results |= contest.same_texts(results, "write-yoyak", "write-plain")
    results["setting"] = {name: getattr(args, name) for name in ("checkpoint", "rows", "dev", "batch")} | {
        "data": args.data.name
    }
    contest.save(args.json, results)


if __name__ == "__main__":
    main()
