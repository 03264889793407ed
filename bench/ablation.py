"""Measure what each technique does to the score, alone or with others, against none at equal optimizer steps.

    python -m bench.ablation                                    # objectives, averages, consensus; on the sample, 3 seeds
    python -m bench.ablation --augmentation                     # the methods of augmentation that need no model
    python -m bench.ablation --data FOLDER --max-rejected 50
    python -m bench.ablation --methods none speaker_swap=0.5 noise+turn_dropout --seeds 42 43
    python -m bench.ablation --methods none 'wide:generation.num_beams=8,generation.length_penalty=2'
    python -m bench.ablation --methods none 'pretrain:pretrain.num_train_epochs=5'
    python -m bench.ablation --set model.family=qlora generation.backend=transformers --methods none templates=4
    python -m bench.ablation --random-model --seeds 42          # from random weights, ten times the size of kobart-tiny

A technique is the name of augmentation methods with their rates, or "LABEL:KEY=VALUE,KEY=VALUE" with changes of params.yaml.

The stages run as they are, with params.yaml and the changes of `--set`. The seed is that of augmentation, pre-training and
training. With more rows there are fewer epochs in the same ratio, so that each run takes the same number of steps on the same
schedule. The last weights are scored: no epoch is chosen by its dev score, because the runs have different numbers of epochs.
Each run is a process of its own. What it gave is a file of numbers in bench/results/runs, which is in git: the same command
goes on where it was stopped, also on another machine and after further params were added. A run whose params had other values
is run again.

The table has the mean over the seeds and the dev dialogues, and yoyak's paired test on the dialogues' means over the seeds. Its
p-values say what another sample of dialogues would show. The column "seeds" has the range of the means of single runs.
"s" are the mean seconds of pre-training and training, and of prediction. "facts_unsupported" is the number of
names and numbers of a summary that its dialogue does not state (fewer are better), "facts_recalled" the number of those of the
reference that it has. "better than medoid" counts the seeds whose run beats that baseline by the paired bootstrap.
Writes bench/results/ablation-DATA.json or augmentation-DATA.json, and the table beside it as .md.
"""

import argparse
import csv
import hashlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench import ROOT
from bench.ablation_table import METRICS, compared, markdown

AUGMENTATION = ("none", "speaker_swap", "noise", "turn_dropout", "speaker_swap+noise+turn_dropout")
CONSENSUS = "generation.num_beams=8,generation.consensus.candidates=8,generation.consensus.source=beams"
SAMPLES = (
    "generation.backend=lean,generation.do_sample=true,generation.num_beams=1,generation.temperature=0.5,"
    "generation.consensus.candidates=32,generation.consensus.source=samples"
)
SHORT = "generation.backend=lean,generation.length_penalty=0.5,generation.no_repeat_ngram_size=3"
# The settings of the competition's baseline (presets/kobart-baseline.yaml), but for its 20 epochs.
BASELINE = (
    "training.learning_rate=1e-5,training.per_device_train_batch_size=50,training.lr_scheduler_type=cosine,"
    "training.warmup_steps=500,training.label_smoothing_factor=0,generation.backend=lean,generation.num_beams=5,"
    "generation.min_new_tokens=30,generation.repetition_penalty=1.5,generation.no_repeat_ngram_size=3"
)
PRETRAIN = "pretrain.num_train_epochs=10"
TECHNIQUES = (
    "none",
    f"baseline recipe:{BASELINE}",
    "r_drop:training.objective.name=r_drop",
    "r3f:training.objective.name=r3f",
    "tag_weight 2:training.objective.tag_weight=2",
    "unlikelihood 1:training.objective.unlikelihood=1",
    "minimum_risk:training.objective.name=minimum_risk",
    "self_critical:training.objective.name=self_critical",
    "ema 0.99:training.ema_decay=0.99,training.average_checkpoints=0",
    "mean of 3:training.average_checkpoints=3",
    "beams 8:generation.num_beams=8",
    f"length_penalty 0.5, no_repeat_ngram_size 3:{SHORT}",
    f"consensus of 8 beams:{CONSENSUS}",
    f"consensus of 8 beams, facts 10:{CONSENSUS},generation.consensus.facts=10",
    f"consensus of 32 samples:{SAMPLES}",
    f"pretrain 10:{PRETRAIN}",
    f"pretrain 10, length_penalty 0.5, no_repeat_ngram_size 3:{PRETRAIN},{SHORT}",
    f"pretrain 10, consensus of 32 samples:{PRETRAIN},{SAMPLES}",
)
RUNS = ROOT / "bench/results/runs"
TRAINED = "trained.json"


def changes_of(name: str) -> dict[str, Any]:
    """The changes of params.yaml that a technique means.

    "LABEL:KEY=VALUE,KEY=VALUE" says them. "noise=2+speaker_swap" are rates of augmentation; one without a number is 1.
    """
    from yoyak.config.params import parse_change

    _, colon, changes = name.partition(":")
    if colon:
        return dict(map(parse_change, changes.split(",")))
    parts = (part.partition("=") for part in name.split("+") if name != "none")
    return {f"augment.{method}.rate": float(rate or 1) for method, _, rate in parts}


def run_file(args: argparse.Namespace, name: str, seed: int) -> Path:
    """Where a run is kept."""
    settings = [name, args.data.name, args.rows, args.dev, args.epochs, args.max_rejected, args.set]
    content = json.dumps(settings + ["random model"] * args.random_model)
    label = re.sub("[^A-Za-z0-9_.=+-]+", "_", name.partition(":")[0])
    return RUNS / f"{args.data.name}-{label}-{seed}-{hashlib.sha256(content.encode()).hexdigest()[:8]}.json"


def kept_run(path: Path, params: dict[str, Any]) -> dict[str, Any] | None:
    """The content of a run's file, or None if there is none or a param had another value.

    A param that was added since does not count: its default keeps the results of before.
    """
    if not path.is_file():
        return None
    run: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    changed = [key for key, value in run["params"].items() if key in params and params[key] != value]
    if changed:
        print(f"{path.name}: {', '.join(changed)} had another value; it runs again", flush=True)
        return None
    return run


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of params.yaml by their dotted names."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        result |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return result


def one(args: argparse.Namespace, name: str, seed: int) -> None:
    """Run the stages from preprocess to score, and keep the scores of each dialogue.

    Techniques that differ only in the sections `generation` and `score` share one training.
    """
    from stages import predict, score
    from yoyak.config.params import parse_change
    from yoyak.search.base_params import apply_changes
    from yoyak.system.text_files import read_json, write_json

    final = run_file(args, name, seed)
    values = base_values()
    changes: dict[str, Any] = {
        "data.dir": "csv",
        "preprocess.max_rejected": args.max_rejected,
        "augment.seed": seed,
        "pretrain.seed": seed,
        "training.seed": seed,
        "training.num_train_epochs": args.epochs,
        "training.predict_with_generate": False,
        "training.metric_for_best_model": "loss",
        "training.early_stopping_patience": 0,
        "training.average_checkpoints": 1,
        "training.average_choice": "last",
        "generation.backend": "ctranslate2",  # `auto` could choose int8 for some of the runs
        **({"model.kobart.checkpoint": random_model(args.folder)} if args.random_model else {}),
        **dict(map(parse_change, args.set)),
        **changes_of(name),
    }
    os.environ["YOYAK_CHECKPOINTS"] = str(Path(args.folder).resolve() / "kept")  # answers of models are shared by all runs
    folder = trained_folder(args, changes, values)
    os.chdir(folder)
    facts = read_json(Path(TRAINED))
    changes["training.num_train_epochs"] = facts.pop("epochs")
    write_params(apply_changes(changes, values))
    start = time.monotonic()
    predict.main(Path("data/processed"), Path("models"), Path("data/predictions"), Path("metrics/predict.json"))
    facts |= {"technique": name, "seed": seed, "commit": commit(), "predict_seconds": round(time.monotonic() - start, 1)}
    places = {"scores": Path("metrics/scores.json"), "summary": Path("metrics/summary.json")}
    score.main(
        Path("data/processed"),
        Path("data/predictions"),
        Path("metrics/predict.json"),
        **places,
        per_dialogue=Path("metrics/per_dialogue.csv"),
    )
    columns = per_dialogue(Path("metrics/per_dialogue.csv"))
    beaten = read_json(Path("metrics/scores.json"))["beaten"]["medoid"]
    facts["medoid_beaten"] = {"rouge_sum": beaten["all"], "content_sum": beaten["content"]}
    os.chdir(ROOT)
    write_json(final, {**facts, "dialogues": columns, "params": flat(base_values())})


def trained_folder(args: argparse.Namespace, changes: dict[str, Any], values: dict[str, Any]) -> Path:
    """A folder with the trained model of these changes: that of an earlier technique, or a new one.

    Its file TRAINED, which is written last, has the facts of the training.
    """
    from stages import augment, preprocess, pretrain, tokenize
    from yoyak.search.base_params import apply_changes
    from yoyak.system.text_files import read_json, read_jsonl, read_tsv, write_json

    read = {key: value for key, value in apply_changes(changes, values).items() if key not in ("generation", "score")}
    content = json.dumps([read, args.data.name, args.rows, args.dev, commit()], sort_keys=True)
    folder = Path(args.folder) / f"trained-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
    if (folder / TRAINED).is_file():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "models").mkdir(parents=True)
    (folder / "models/base").symlink_to(ROOT / "models/base")
    prepare_data(args, folder / "csv")
    os.chdir(folder)
    write_params(apply_changes(changes, values))
    processed, augmented, tokenized = (Path(f"data/{stage}") for stage in ("processed", "augmented", "tokenized"))
    preprocess.main(processed, Path("data/rejects/rows.jsonl"), Path("metrics/preprocess.json"))
    augment.main(processed, augmented, Path("metrics/augment.json"))
    rows = sum(1 for _ in read_jsonl(processed / "train.jsonl"))
    added = read_json(Path("metrics/augment.json"))
    training = apply_changes(changes, values)["training"]
    batch = training["per_device_train_batch_size"] * training["gradient_accumulation_steps"]
    epochs = epochs_of(args.epochs, rows=rows, added=added["added"], batch=batch)
    write_params(apply_changes(changes | {"training.num_train_epochs": epochs}, values))
    tokenize.main(processed, augmented, tokenized, Path("metrics/tokenize.json"))
    family = read["model"]["family"]
    train = __import__(f"stages.train_{family}", fromlist=["main"])
    start = time.monotonic()
    pretrain.main(processed, Path("models/pretrained"), Path("metrics/pretrain"))
    train.main(processed, tokenized, Path("models") / family, Path("metrics/train") / family)
    seconds = round(time.monotonic() - start, 1)
    steps = read_json(Path("metrics/train") / family / "metrics.json")["step"]
    curve = read_tsv(Path("metrics/train") / family / "plots/metrics/dev/loss.tsv")
    facts = {"rows": rows, "steps": steps, "dev_loss": curve[-1][1], "train_seconds": seconds, "epochs": epochs, **added}
    os.chdir(ROOT)
    write_json(folder / TRAINED, facts)
    return folder


def base_values() -> dict[str, Any]:
    """The values of params.yaml, before the changes of a run."""
    from yoyak.config.moved_keys import translated
    from yoyak.config.yaml_files import read_yaml

    values: dict[str, Any] = translated(read_yaml(ROOT / "params.yaml"))  # type: ignore[assignment]
    return values


def commit() -> str:
    """The commit of this repository, with a plus if files of the library differ from it."""
    name = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "src", "stages"], cwd=ROOT, check=False)
    return name.stdout.strip() + ("+" if changed.returncode else "")


def random_model(folder: Path) -> str:
    """The folder of a BART with random weights, ten times the size of kobart-tiny and with its tokenizer."""
    import torch
    from transformers import AutoTokenizer, BartConfig, BartForConditionalGeneration

    from yoyak.system.checksums import write_checksums

    small, made = ROOT / "models/base/kobart-tiny", folder / "random-model"
    if not (made / "SHA256SUMS").is_file():
        config = BartConfig.from_pretrained(small)
        config.d_model, config.encoder_layers, config.decoder_layers = 512, 4, 4
        config.encoder_ffn_dim = config.decoder_ffn_dim = 2048
        config.encoder_attention_heads = config.decoder_attention_heads = 8
        torch.manual_seed(0)
        BartForConditionalGeneration(config).save_pretrained(made)
        AutoTokenizer.from_pretrained(small).save_pretrained(made)
        write_checksums(made)
    return str(made)


def epochs_of(epochs: float, *, rows: int, added: int, batch: int) -> float:
    """The epochs over all rows that take as many steps as `epochs` over `rows` alone."""
    if not added:
        return epochs
    steps = math.ceil(epochs * math.ceil(rows / batch))
    return (steps - 0.5) / math.ceil((rows + added) / batch)  # the trainer rounds its steps up


def prepare_data(args: argparse.Namespace, folder: Path) -> None:
    """The first rows of train, all of dev, and a few rows of test, which is not scored here."""
    folder.mkdir()
    for split, most in (("train", args.rows), ("dev", args.dev), ("test", 8)):
        with open(Path(args.data) / f"{split}.csv", encoding="utf-8-sig", newline="") as file:
            table = list(csv.reader(file))
        with open(folder / f"{split}.csv", "w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(table[: most + 1 if most else None])


def write_params(values: dict[str, Any]) -> None:
    from ruamel.yaml import YAML

    with open("params.yaml", "w", encoding="utf-8") as file:
        YAML().dump(values, file)


def per_dialogue(path: Path) -> dict[str, list[float]]:
    """The columns of a run, one value for each dialogue."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {metric: [float(row[metric]) for row in rows] for metric in METRICS}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--data", type=Path, default=ROOT / "data/sample", help="folder with train.csv, dev.csv and test.csv")
    parser.add_argument("--methods", nargs="+", help='techniques, such as "none noise=2+speaker_swap"; the first is the base')
    parser.add_argument("--augmentation", action="store_true", help="the methods of augmentation that need no model")
    parser.add_argument("--seeds", nargs="+", type=int, default=[42, 43, 44])
    parser.add_argument("--rows", type=int, default=0, help="first rows of train; 0 takes all")
    parser.add_argument("--dev", type=int, default=0, help="first rows of dev; 0 takes all")
    parser.add_argument("--epochs", type=float, default=6.0, help="of the run without augmentation (default: 6)")
    parser.add_argument("--random-model", action="store_true", help="random weights of ten times kobart-tiny's size")
    parser.add_argument("--max-rejected", type=int, default=0, help="preprocess.max_rejected")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="further changes of params.yaml")
    parser.add_argument("--folder", type=Path, default=ROOT / ".checkpoints/bench-ablation", help="where unfinished runs work")
    parser.add_argument("--output", type=Path, help="JSON file of the results")
    parser.add_argument("--one", nargs=2, metavar=("METHODS", "SEED"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    kind = "augmentation" if args.augmentation else "ablation"
    args.methods = args.methods or (AUGMENTATION if args.augmentation else TECHNIQUES)
    args.data, args.folder = args.data.resolve(), args.folder.resolve()
    if args.one:
        one(args, args.one[0], int(args.one[1]))
        return
    params = flat(base_values())
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in args.methods}
    for seed in args.seeds:
        for name in args.methods:
            path = run_file(args, name, seed)
            if kept_run(path, params) is None:
                print(f"{name}, seed {seed}", flush=True)
                command = [sys.executable, "-m", "bench.ablation", *sys.argv[1:], "--one", name, str(seed)]
                subprocess.run(command, check=True, cwd=ROOT)
            runs[name].append(json.loads(path.read_text(encoding="utf-8")))
    result = compared(runs)
    rows = f"{args.rows:,} rows" if args.rows else "all rows"
    changes = f", {' '.join(args.set)}" if args.set else ""
    start = ", from random weights" if args.random_model else ""
    heading = (
        f"{args.data.name}{start}, {rows} of train, {args.epochs:g} epochs{changes}, seeds {' '.join(map(str, args.seeds))}"
    )
    output = args.output or ROOT / f"bench/results/{kind}-{args.data.name}{'-random-model' * args.random_model}.json"
    output.write_text(json.dumps({"about": heading, **result}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    table = markdown(result, heading=heading)
    output.with_suffix(".md").write_text(table, encoding="utf-8")
    print(table)


if __name__ == "__main__":
    main()
