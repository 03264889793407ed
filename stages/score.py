"""ROUGE of the dev predictions, with its signature, interval and baselines beside it."""

import json
from pathlib import Path

from yoyak.config.params import load_params
from yoyak.data.dialogue import restore_person_tags
from yoyak.evaluation import rouge, scoring, submission
from yoyak.system.errors import exit_with_message
from yoyak.system.integrity import verify_checksums
from yoyak.system.text_files import read_jsonl, write_csv, write_json


def main(processed: Path, predictions: Path, predict_metrics: Path, scores: Path, per_dialogue: Path) -> None:
    params = load_params()
    if params.search.pruned:
        print(f"score: pruned: {params.search.pruned}")
        write_csv(per_dialogue, [], columns=scoring.COLUMNS)
        write_json(scores, {"pruned": params.search.pruned})
        return

    verify_checksums(processed)
    verify_checksums(predictions)
    strategy = params.preprocess.person_tags
    rows = list(read_jsonl(processed / "dev.jsonl"))
    tokenizer = rouge.Morphemes()
    train = [restore_person_tags(row["summary"], strategy) for row in read_jsonl(processed / "train.jsonl")]
    print(f"score: {len(rows)} rows, five baselines (the medoid of {len(train)} train summaries)", flush=True)
    texts = submission.read_predictions(predictions / "dev.csv", fnames=[row["fname"] for row in rows])
    result, per_row = scoring.score(
        predictions=texts,
        references=[row["references"] for row in rows],
        how=params.score.references,
        bootstrap_samples=params.score.bootstrap_samples,
        seed=params.score.seed,
        tokenizer=tokenizer,
        against=scoring.baselines(
            [restore_person_tags(row["dialogue"], strategy) for row in rows],
            medoid=rouge.medoid(train, tokenizer=tokenizer),
        ),
        decoding=json.loads(predict_metrics.read_text(encoding="utf-8"))["decoding"],
    )
    table = [{"fname": row["fname"], **scored} for row, scored in zip(rows, per_row, strict=True)]
    write_csv(per_dialogue, table, columns=scoring.COLUMNS)
    write_json(scores, result)
    print(scoring.table(result))


if __name__ == "__main__":
    with exit_with_message():
        main(
            Path("data/processed"),
            Path("data/predictions"),
            Path("metrics/predict.json"),
            Path("metrics/scores.json"),
            Path("metrics/per_dialogue.csv"),
        )
