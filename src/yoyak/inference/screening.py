"""Scoring several models on the dev split as they are, without training: which one is worth fine-tuning."""

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
from yoyak.data import tokenization
from yoyak.data.person_tags import restore_person_tags
from yoyak.data.splits import SplitCleaner
from yoyak.evaluation import rouge
from yoyak.evaluation.baselines import baseline_predictions, medoid
from yoyak.evaluation.metrics.lookup import build_metrics
from yoyak.evaluation.morphemes import Morphemes
from yoyak.evaluation.scoring import score
from yoyak.inference import decoding
from yoyak.models import checkpoints, encoder_decoder, lora
from yoyak.system import hardware
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import read_json, to_json, write_json


@dataclass
class Data:
    """What all models are given: the processed dev rows, and the test rows that decide whether topics are named."""

    dev: list[dict[str, Any]]
    test: list[dict[str, Any]]
    medoid: str


def read_data(params: Params, *, rows: int | None, tokenizer: Morphemes) -> Data:
    """The splits, cleaned as the pipeline does; of dev the first `rows`.

    Raises:
        YoyakError: as the preprocess stage does.
    """
    cleaner = SplitCleaner(Path(params.data.dir), params.preprocess)
    cleaned = {split: list(cleaner.clean(split)) for split in cleaner.paths}
    cleaner.check()
    summaries = [restore_person_tags(row["summary"], params.preprocess.person_tags) for row in cleaned["train"]]
    return Data(cleaned["dev"][:rows], cleaned["test"], medoid(summaries, tokenizer=tokenizer))


def key(params: Params, data: Data) -> str:
    """What a result depends on: a result with the same key need not be measured again."""
    sections = params.model_dump(include={"model", "preprocess", "tokenizer", "prompt", "generation", "score"})
    base = lora.fingerprint(params.model.chosen.checkpoint)
    return hashlib.sha256(
        to_json([sections, base, data.dev, [row["topic"] for row in data.test], data.medoid]).encode()
    ).hexdigest()


def screen(
    names: Sequence[str], *, folder: Path, params: Path, output: Path, rows: int | None = None, remove_cache: bool = False
) -> dict[str, Any]:
    """Score the presets' models one after another; what is already in `output` under the same key is not measured again.

    `output` is written after each model, so that a run that was stopped goes on where it was. A model that cannot be
    loaded, or leaves an output empty, is recorded as failed, and the next one is tried. Returns what `output` holds.
    """
    applied = {
        name: presets.params_with_preset(name, folder=folder, params=params) for name in names
    }  # all faults before any work
    results: dict[str, Any] = read_json(output) if output.is_file() else {"models": {}}
    tokenizer = Morphemes()
    hardware.enable_tf32()
    read: dict[str, Data] = {}
    for name, settings in applied.items():
        source = to_json(settings.model_dump(include={"data", "preprocess"}))
        if source not in read:
            read[source] = read_data(settings, rows=rows, tokenizer=tokenizer)
        data = read[source]
        wanted = key(settings, data)
        if results["models"].get(name, {}).get("key") == wanted:
            print(f"{name}: already in {output}", file=sys.stderr, flush=True)
            continue
        try:
            result = _score_one(settings, data, tokenizer)
        except YoyakError as error:
            result = {"status": "failed", "why": str(error)}
        except torch.OutOfMemoryError:
            result = {"status": "failed", "why": "out of GPU memory; lower generation.batch_size"}
        except Exception as error:  # of a kernel, a template …: the others are tried all the same
            result = {"status": "failed", "why": f"{type(error).__name__}: {checkpoints.short(error)}"}
        if result["status"] == "failed" and "scores" not in result:
            print(f"{name}: failed: {result['why']}", file=sys.stderr, flush=True)
        else:  # what failed to run is tried again next time
            result["key"] = wanted
        results["models"][name] = {"checkpoint": settings.model.chosen.checkpoint} | result
        write_json(output, results)
        gc.collect()
        torch.cuda.empty_cache()
        if remove_cache:
            remove_from_cache(settings.model.chosen.checkpoint, settings.model.chosen.revision)
    return results


def _score_one(params: Params, data: Data, morphemes: Morphemes) -> dict[str, Any]:
    family, chosen, strategy = params.model.family, params.model.chosen, params.preprocess.person_tags
    # No tokens are added: untrained, they would mean nothing to the model.
    tokenizer = checkpoints.load_tokenizer(chosen.checkpoint, chosen.revision, (), pad_with_eos=family == "qlora")
    if family == "qlora":
        precision, _ = hardware.choose_precision("auto", parameters=0, quantized=True)
        model, _ = lora.load_base(params.model.qlora, tokenizer, precision=precision)
    else:
        model = encoder_decoder.load(chosen.checkpoint, chosen.revision, tokenizer).to(hardware.default_device())
    ids = tokenization.encode_rows(
        data.dev, tokenizer, family=family, lengths=params.tokenizer, ask=params.prompt, test_rows=data.test
    )
    started = time.perf_counter()
    outputs = decoding.generate(
        model,
        tokenizer,
        ids,
        [row["dialogue"] for row in data.dev],
        settings=params.generation,
        progress=chosen.checkpoint,
    )
    seconds = time.perf_counter() - started
    texts = [restore_person_tags(item.text, strategy) for item in outputs]
    dialogues = [restore_person_tags(row["dialogue"], strategy) for row in data.dev]
    scores, _ = score(
        predictions=texts,
        references=[row["references"] for row in data.dev],
        dialogues=dialogues,
        baselines=baseline_predictions(dialogues, medoid=data.medoid),
        metrics=build_metrics(tokenizer=morphemes, aggregation=params.score.references),
        bootstrap_samples=params.score.bootstrap_samples,
        seed=params.score.seed,
        decoding=decoding.describe(params.generation, backend="transformers"),
    )
    faults = decoding.faults(outputs, texts, dialogues)
    failed = {"status": "failed", "why": f"{faults['empty']} of {len(texts)} outputs are empty"}
    return {
        **(failed if faults["empty"] else {"status": "scored"}),
        "seconds_a_dialogue": round(seconds / len(texts), 3),
        "outputs": faults,
        "examples": texts[:3],
        "scores": scores,
    }


def table(results: dict[str, Any]) -> list[str]:
    """One line a model, the best first, the failed ones last; then the strongest baseline."""
    heads = (
        f"{'R1':>6} {'R2':>6} {'RL':>6} {'sum':>7} {'95 % interval':>16} {'content':>8} {'foreign':>8} {'s/row':>6} {'rows':>5}"
    )
    lines = [f"{'model':26} {heads}"]
    models = results["models"]
    medoid: dict[str, Any] | None = None
    for name in sorted(models, key=lambda name: -models[name].get("scores", {}).get("rouge_sum", -1.0)):
        model = models[name]
        if "scores" in model:
            scores = model["scores"]
            medoid = scores["baselines"]["medoid"]
            low, high = scores["interval"]["rouge_sum"]
            figures = " ".join(f"{scores[name_]:6.2f}" for name_ in rouge.KEYS)
            lines.append(
                f"{name:26} {figures} {scores['rouge_sum']:7.2f} {f'[{low:.1f}, {high:.1f}]':>16} "
                f"{scores['content']['rouge_sum']:8.2f} {model['outputs']['foreign_share']:8.2%} "
                f"{model['seconds_a_dialogue']:6.2f} {scores['rows']:5}"
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
    """Delete a hub model's files at this commit from the local cache. Returns the bytes freed; a folder is never touched."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    if Path(name).exists():
        return 0
    try:
        info = scan_cache_dir()
    except CacheNotFound:
        return 0
    cached = [found.commit_hash for repo in info.repos if repo.repo_id == name for found in repo.revisions]
    commits = [commit for commit in cached if commit == revision]
    if not commits:
        return 0
    strategy = info.delete_revisions(*commits)
    strategy.execute()
    print(f"{name}: {strategy.expected_freed_size / 2**30:.1f} GiB removed from the cache", file=sys.stderr, flush=True)
    return int(strategy.expected_freed_size)
