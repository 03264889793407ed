"""Scoring several models on the dev split without training them, to see which one is worth fine-tuning."""

import gc
import hashlib
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from yoyak.config import presets
from yoyak.config.sections import Params
from yoyak.data.person_tags import restore_person_tags
from yoyak.data.prompts import uses_topic
from yoyak.data.splits import SplitCleaner
from yoyak.evaluation import rouge
from yoyak.evaluation.baselines import baseline_predictions, medoid
from yoyak.evaluation.metrics.lookup import build_metrics
from yoyak.evaluation.morphemes import Morphemes
from yoyak.evaluation.scoring import score
from yoyak.inference.decoding import describe_decoding
from yoyak.inference.outputs import count_faults
from yoyak.inference.summarizer import Summarizer
from yoyak.models import checkpoints
from yoyak.models.families.lookup import family_named
from yoyak.system import hardware
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import read_json, to_json, write_json


@dataclass
class ScreeningData:
    """The same data for every model: processed rows of dev, test (for `prompt.topic: auto`) and train, and the medoid."""

    train: list[dict[str, Any]]  # for the examples of few-shot prompts
    dev: list[dict[str, Any]]
    test: list[dict[str, Any]]
    medoid: str


def read_data(params: Params, *, rows: int | None, tokenizer: Morphemes) -> ScreeningData:
    """Read the splits and clean them as the stage preprocess does.

    Args:
        params: sections data and preprocess.
        rows: the number of dev rows to use, from the first. None means all.
        tokenizer: splits texts into morphemes, to find the medoid of the train summaries.

    Raises:
        YoyakError: as the stage preprocess does.
    """
    cleaner = SplitCleaner(params.data, params.preprocess)
    cleaned = {split: list(cleaner.clean(split)) for split in cleaner.paths}
    cleaner.check()
    summaries = [restore_person_tags(row["summary"], params.preprocess.person_tags) for row in cleaned["train"]]
    return ScreeningData(cleaned["train"], cleaned["dev"][:rows], cleaned["test"], medoid(summaries, tokenizer=tokenizer))


def result_key(params: Params, data: ScreeningData) -> str:
    """A hash of everything that a result depends on. A result with the same key is not measured again."""
    sections = params.model_dump(include={"model", "preprocess", "tokenizer", "prompt", "generation", "score"})
    base = checkpoints.fingerprint(params.model.name)
    parts = [sections, base, data.dev, [row["topic"] for row in data.test], data.medoid]
    if params.prompt.examples:
        parts.append(data.train)
    return hashlib.sha256(to_json(parts).encode()).hexdigest()


def screen(
    names: Sequence[str], *, folder: Path, params: Path, output: Path, rows: int | None = None, remove_cache: bool = False
) -> dict[str, Any]:
    """Score the models of presets one after another.

    `output` is written after each model. If a run was stopped, the next one continues with the models that are missing. A model
    whose key (`result_key`) is already in `output` is not measured again. A model that cannot be loaded, or that writes an
    empty output, is recorded as failed, and the next one is tried.

    Args:
        names: the names of the presets.
        folder: the folder of the presets.
        params: the file params.yaml. Presets change its values for this call only.
        output: a JSON file for the results.
        rows: the number of dev rows to use, from the first. None means all.
        remove_cache: delete each hub model from the local cache after it is measured.

    Returns:
        The content of `output`.

    Raises:
        YoyakError: for an unknown preset, before any work; or as `read_data` does.
    """
    changed = {name: presets.params_with_preset(name, folder=folder, params=params) for name in names}
    results: dict[str, Any] = read_json(output) if output.is_file() else {"models": {}}
    tokenizer = Morphemes()
    hardware.enable_tf32()
    data_by_source: dict[str, ScreeningData] = {}
    for name, settings in changed.items():
        source = to_json(settings.model_dump(include={"data", "preprocess"}))
        if source not in data_by_source:
            data_by_source[source] = read_data(settings, rows=rows, tokenizer=tokenizer)
        data = data_by_source[source]
        key = result_key(settings, data)
        if results["models"].get(name, {}).get("key") == key:
            print(f"{name}: already in {output}", file=sys.stderr, flush=True)
            continue
        try:
            result = _score_model(settings, data, tokenizer)
        except YoyakError as error:
            result = {"status": "failed", "why": str(error)}
        except torch.OutOfMemoryError:
            result = {"status": "failed", "why": "out of GPU memory; lower generation.batch_size"}
        except Exception as error:  # for example from a kernel or a chat template; the other models are still tried
            result = {"status": "failed", "why": f"{type(error).__name__}: {checkpoints.one_line(error)}"}
        if result["status"] == "failed" and "scores" not in result:
            print(f"{name}: failed: {result['why']}", file=sys.stderr, flush=True)
        else:  # a model that could not run gets no key, so that the next call tries it again
            result["key"] = key
        results["models"][name] = {"checkpoint": settings.model.name} | result
        write_json(output, results)
        gc.collect()
        torch.cuda.empty_cache()
        if remove_cache and settings.model.family != "endpoint":
            remove_from_cache(settings.model.chosen.checkpoint, settings.model.chosen.revision)
    return results


def _score_model(params: Params, data: ScreeningData, morphemes: Morphemes) -> dict[str, Any]:
    """Load one model, write its summaries of dev with transformers or through its API, and score them."""
    family = family_named(params.model.family)
    backend = "transformers" if family.is_trained else "auto"
    generation = params.generation.model_copy(update={"backend": backend})
    summarizer = Summarizer(family.load_untrained(params), family, params.model_copy(update={"generation": generation}))
    summarizer.use_examples(data.train)
    encoded = summarizer.encode(data.dev, names_topic=uses_topic(params.prompt, data.test))
    if cuts := summarizer.reader.describe_cuts(encoded):
        print(f"{params.model.name}: {cuts}", file=sys.stderr, flush=True)
    start = time.perf_counter()
    outputs = summarizer.write(encoded, data.dev, progress=params.model.name)
    seconds = time.perf_counter() - start
    choice = summarizer.choose_backend()
    paid = choice.report().get("endpoint")  # answers from the store take no time now, so that their own time counts
    texts = summarizer.finish(outputs, postprocess=False)
    dialogues = summarizer.restore_tags([row["dialogue"] for row in data.dev])
    scores, _ = score(
        predictions=texts,
        references=[row["references"] for row in data.dev],
        dialogues=dialogues,
        baselines=baseline_predictions(dialogues, medoid=data.medoid),
        metrics=build_metrics(tokenizer=morphemes, aggregation=params.score.references),
        bootstrap_samples=params.score.bootstrap_samples,
        seed=params.score.seed,
        decoding=describe_decoding(params.generation, backend=choice.backend, unread=family.unread_params),
    )
    faults = count_faults(outputs, texts, dialogues)
    failed = {"status": "failed", "why": f"{faults['empty']} of {len(texts)} outputs are empty"}
    return {
        **(failed if faults["empty"] else {"status": "scored"}),
        "seconds_a_dialogue": paid["seconds_a_dialogue"] if paid else round(seconds / len(texts), 3),
        **({"price": paid["price"]} if paid else {}),
        "outputs": faults,
        "input": summarizer.reader.count_cuts(encoded),
        "examples": texts[:3],
        "scores": scores,
    }


def _price(model: dict[str, Any]) -> str:
    """The price of the answers for dev; a hyphen for a model that runs here, a question mark without a price in params."""
    if "price" not in model:
        return "-"
    return "?" if model["price"] is None else f"{model['price']:.4f}"


def table(results: dict[str, Any]) -> list[str]:
    """The results of `screen` as lines of a table: the best model first, failed ones last, then the medoid baseline."""
    scores_heads = f"{'R1':>6} {'R2':>6} {'RL':>6} {'sum':>7} {'95 % interval':>16} {'content':>8} {'foreign':>8}"
    heads = f"{scores_heads} {'s/row':>6} {'rows':>5} {'price':>9}"
    lines = [f"{'model':26} {heads}"]
    models = results["models"]
    medoid: dict[str, Any] | None = None
    for name in sorted(models, key=lambda name: -models[name].get("scores", {}).get("rouge_sum", -1.0)):
        model = models[name]
        if "scores" in model:
            scores = model["scores"]
            medoid = scores["baselines"]["medoid"]
            ends = scores["interval"]["rouge_sum"]
            interval = f"[{ends[0]:.1f}, {ends[1]:.1f}]" if ends else "too few rows"
            figures = " ".join(f"{scores[name_]:6.2f}" for name_ in rouge.KEYS)
            lines.append(
                f"{name:26} {figures} {scores['rouge_sum']:7.2f} {interval:>16} "
                f"{scores['content']['rouge_sum']:8.2f} {model['outputs']['foreign_share']:8.2%} "
                f"{model['seconds_a_dialogue']:6.2f} {scores['rows']:5} {_price(model):>9}"
                + (f"  FAILED: {model['why']}" if model["status"] == "failed" else "")
            )
        else:
            lines.append(f"{name:26} FAILED: {model['why']}")
    if medoid:
        lines.append(
            f"{'(medoid baseline)':26} {medoid['rouge1']:6.2f} {medoid['rouge2']:6.2f} {medoid['rougeL']:6.2f} "
            f"{medoid['rouge_sum']:7.2f} {'':16} {medoid['content']['rouge_sum']:8.2f}"
        )
    return lines


def remove_from_cache(name: str, revision: str | None) -> int:
    """Delete the files of a hub model at this commit from the local cache. A folder is never touched.

    Returns:
        The number of freed bytes.
    """
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    if Path(name).exists():
        return 0
    try:
        info = scan_cache_dir()
    except CacheNotFound:
        return 0
    cached = [cached.commit_hash for repo in info.repos if repo.repo_id == name for cached in repo.revisions]
    commits = [commit for commit in cached if commit == revision]
    if not commits:
        return 0
    strategy = info.delete_revisions(*commits)
    strategy.execute()
    print(f"{name}: {strategy.expected_freed_size / 2**30:.1f} GiB removed from the cache", file=sys.stderr, flush=True)
    return int(strategy.expected_freed_size)
