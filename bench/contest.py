"""What the benchmarks share. Each contender runs in a process of its own, one after the other, and prints its figures."""

import itertools
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench import ROOT


def peak_mib() -> float:
    """Return the peak memory of this process so far, in MiB: of the GPU's allocator, or without a GPU the resident set."""
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated() / 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def print_result(result: dict[str, Any]) -> None:
    print("RESULT " + json.dumps(result))


def run_each(module: str, names: Sequence[str], arguments: Sequence[str]) -> dict[str, Any]:
    """Run `python -m MODULE ARGUMENTS --one NAME` for each contender, and return their figures by name."""
    results = {}
    for name in names:
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments, "--one", name], check=False, cwd=ROOT, capture_output=True, text=True
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        if done.returncode or not lines:
            raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
        results[name] = json.loads(lines[-1].removeprefix("RESULT "))
        print(name, {key: value for key, value in results[name].items() if key != "texts"}, flush=True)
    return results


def rows(data: Path, counts: dict[str, int], settings: Any) -> dict[str, list[dict[str, Any]]]:
    """Return the first `counts` rows of each split, after preprocessing."""
    from yoyak.config.data_section import Data
    from yoyak.data.splits import SplitCleaner

    cleaner = SplitCleaner(Data(dir=str(data), folds=0, fold=1), settings)
    return {split: list(itertools.islice(cleaner.clean(split), count)) for split, count in counts.items()}


def dev_loss(model: Any, dev: list[dict[str, Any]], collate: Callable[[list[dict[str, Any]]], dict[str, Any]]) -> float:
    """Return the mean cross-entropy of the target tokens, in nats."""
    import torch

    total, tokens = 0.0, 0
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(dev), 16):
            batch = collate([dict(row) for row in dev[start : start + 16]])
            batch = {key: value.to(model.device) if isinstance(value, torch.Tensor) else value for key, value in batch.items()}
            count = int((batch["labels"] != -100).sum())
            total += model(**batch).loss.item() * count
            tokens += count
    return total / tokens


def trainer_of_yoyak(
    model: Any, tokenizer: Any, rows: list[dict[str, Any]], *, settings: Any, folder: str, precision: str, collate: Any
) -> Any:
    """Return yoyak's own trainer, without evaluations and checkpoints."""
    from datasets import Dataset

    from yoyak.training.arguments import training_arguments
    from yoyak.training.trainer import SummaryTrainer

    arguments = training_arguments(settings, folder=Path(folder), precision=precision)
    arguments.eval_strategy = arguments.save_strategy = "no"
    arguments.load_best_model_at_end = False
    return SummaryTrainer(
        keep_checkpoints=1,
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        data_collator=collate,
        processing_class=tokenizer,
    )


def write(
    model: Any,
    tokenizer: Any,
    ids: list[list[int]],
    dev: list[dict[str, Any]],
    *,
    settings: Any,
    threads: int | None,
    baseline: Callable[[], list[str]] | None = None,
) -> dict[str, Any]:
    """Summarize `dev` with yoyak, or with the function `baseline`, which returns texts.

    Returns:
        Seconds (choosing the backend is timed separately), dialogues a second, ROUGE, peak memory and the texts. Without Mecab,
        as on a machine to which only some wheels were carried, ROUGE is None.
    """
    from importlib.util import find_spec

    from yoyak.evaluation import rouge
    from yoyak.evaluation.morphemes import Morphemes
    from yoyak.inference.backend_choice import choose_backend, dev_scorer
    from yoyak.inference.decoding import generate
    from yoyak.models.families.base import LoadedModel
    from yoyak.system import hardware

    chosen: dict[str, Any] = {}
    start, cpu = time.perf_counter(), time.process_time()
    if baseline:
        texts = [text.replace("\ufffd", "").strip() for text in baseline()]
    else:
        hardware.configure_cpu(threads)
        size = model.num_parameters()
        scores_of = None
        if find_spec("mecab"):
            scores_of = dev_scorer(ids, dev, settings=settings, person_tags="keep_original", parameters=size)
        choice = choose_backend(LoadedModel("bench", model, tokenizer), settings, threads=threads, dev_scores=scores_of)
        chosen = {**choice.report(), "seconds_to_choose": round(time.perf_counter() - start, 2)}
        start, cpu = time.perf_counter(), time.process_time()
        dialogues = [row["dialogue"] for row in dev]
        outputs = generate(choice.writer, ids, dialogues, settings=settings, progress="")
        texts = [output.text for output in outputs]
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    references = [row["references"] for row in dev]
    rouge_sum = None
    if find_spec("mecab"):
        scores = rouge.score_rows(predictions=texts, references=references, tokenizer=Morphemes())
        rouge_sum = rouge.summarize(scores)["rouge_sum"]
    return {
        **chosen,
        "seconds": round(seconds, 2),
        "dialogues_a_second": round(len(ids) / seconds, 3),
        "dialogues_a_cpu_second": round(len(ids) / cpu, 3),  # depends less on what else the machine does
        "rouge_sum": rouge_sum,
        "peak_mib": round(peak_mib()),
        "texts": texts,
    }


def same_texts(results: dict[str, Any], ours: str, theirs: str) -> dict[str, str]:
    """Count the texts that are the same, if both contenders ran."""
    if not {ours, theirs} <= set(results):
        return {}
    pairs = list(zip(results[ours]["texts"], results[theirs]["texts"], strict=True))
    return {"same_texts": f"{sum(a == b for a, b in pairs)} of {len(pairs)}"}


def ratio(results: dict[str, Any], ours: str, theirs: str, key: str) -> dict[str, float]:
    """Divide our figure by theirs, if both contenders ran."""
    if not {ours, theirs} <= set(results):
        return {}
    return {f"{key}: {ours} over {theirs}": round(results[ours][key] / results[theirs][key], 3)}


def save(path: Path, results: dict[str, Any]) -> None:
    """Write the results as JSON, without the contenders' texts, and print the ratios."""
    for result in results.values():
        if isinstance(result, dict):
            result.pop("texts", None)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(results.get("ratios", {}), indent=2))
