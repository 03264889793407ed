"""Score the dev predictions with every metric, with intervals and baselines."""

from pathlib import Path

from stages import exit_of_stage
from yoyak.config.params import load_params
from yoyak.data.person_tags import restore_person_tags
from yoyak.evaluation.baselines import baseline_predictions, medoid
from yoyak.evaluation.morphemes import Morphemes
from yoyak.evaluation.score_table import score_table
from yoyak.evaluation.scoring import facts_of_run, main_scores, per_dialogue_columns, score
from yoyak.evaluation.submission import read_predictions
from yoyak.inference.chosen_metrics import score_metrics
from yoyak.system import portable_kernels
from yoyak.system.csv_files import write_csv
from yoyak.system.integrity import verify_checksums
from yoyak.system.text_files import read_json, read_jsonl, write_json
from yoyak.training.tracked_results import track_results
from yoyak.training.trackers.lookup import further_trackers


def main(processed: Path, predictions: Path, predict_metrics: Path, *, scores: Path, summary: Path, per_dialogue: Path) -> None:
    params = load_params()
    portable_kernels.use_if(params.hardware.portable)
    trackers = further_trackers()  # a wrong name ends the stage before any work
    if params.search.pruned:
        print(f"score: pruned: {params.search.pruned}")
        write_csv(per_dialogue, [], columns=per_dialogue_columns())
        write_json(scores, {"pruned": params.search.pruned})
        write_json(summary, {})
        return
    verify_checksums(processed)
    verify_checksums(predictions)
    strategy, tokenizer = params.preprocess.person_tags, Morphemes()
    rows = list(read_jsonl(processed / "dev.jsonl"))
    train = [restore_person_tags(row["summary"], strategy) for row in read_jsonl(processed / "train.jsonl")]
    metrics = score_metrics(params.score, tokenizer=tokenizer, threads=params.hardware.cpu_threads)
    print(f"score: {len(rows)} rows, baselines (the medoid is one of {len(train)} train summaries)", flush=True)
    predicted = read_json(predict_metrics)
    dialogues = [restore_person_tags(row["dialogue"], strategy) for row in rows]
    result, per_row = score(
        predictions=read_predictions(predictions / "dev.csv", fnames=[row["fname"] for row in rows]),
        references=[row["references"] for row in rows],
        dialogues=dialogues,
        baselines=baseline_predictions(dialogues, medoid=medoid(train, tokenizer=tokenizer)),
        metrics=metrics,
        bootstrap_samples=params.score.bootstrap_samples,
        seed=params.score.seed,
        decoding=predicted["decoding"],
    )
    result |= facts_of_run(predicted)
    table = [{"fname": row["fname"], **scored} for row, scored in zip(rows, per_row, strict=True)]
    write_csv(per_dialogue, table, columns=per_dialogue_columns(metrics))
    write_json(scores, result)
    write_json(summary, main_scores(result))
    print(score_table(result))
    if trackers:
        track_results(trackers, params, processed=processed, scores=main_scores(result))


if __name__ == "__main__":
    with exit_of_stage():
        main(
            Path("data/processed"),
            Path("data/predictions"),
            Path("metrics/predict.json"),
            scores=Path("metrics/scores.json"),
            summary=Path("metrics/summary.json"),
            per_dialogue=Path("metrics/per_dialogue.csv"),
        )
