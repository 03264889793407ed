"""Judge the run by score.gates. In this folder a gate that is not met ends the stage with status 1; the scores are kept.

A queued experiment and `dvc exp run --temp` work in a copy of the repository, which DVC deletes with all results if a stage
fails. There the stage ends with status 0, so that the experiment stays, and metrics/gates.json says that it failed.
"""

from pathlib import Path

from stages import exit_of_stage
from yoyak.config.params import load_params
from yoyak.system.atomic import atomic_file
from yoyak.system.dvc_paths import is_copy
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import read_json, read_tsv, write_json

NONE = "no gates: score.gates sets none, or none was judged"


def main(scores: Path, predict_metrics: Path, trained: tuple[Path, ...], metrics: Path, reasons: Path) -> None:
    params = load_params()
    gates, family = params.score.gates, params.model.family
    results = []
    if gates.any_set and not params.search.pruned:
        from yoyak.evaluation.gates import check_gates

        curves = next((path / "plots/metrics" for path in trained if path.name == family), None)
        results = check_gates(
            gates,
            scores=read_json(scores),
            predicted=read_json(predict_metrics),
            gradients={int(step): norm for step, norm in read_tsv(curves / "train/grad_norm.tsv")} if curves else None,
            dev_losses=[loss for _, loss in read_tsv(curves / "dev/loss.tsv")] if curves else None,
        )
    failed = [str(result) for result in results if result.passed is False]
    write_json(metrics, {"gates_failed": len(failed)} if results else {})
    with atomic_file(reasons) as file:
        file.write("".join(f"{result}\n" for result in results) or f"{NONE}\n")
    for result in results:
        print(f"gate {result}", flush=True)
    if failed and not is_copy():
        raise YoyakError("\n  ".join(["score.gates: this run fails; its scores are kept (yoyak show)", *failed]))


if __name__ == "__main__":
    with exit_of_stage():
        main(
            Path("metrics/scores.json"),
            Path("metrics/predict.json"),
            (Path("metrics/train/kobart"), Path("metrics/train/qlora")),
            Path("metrics/gates.json"),
            Path("metrics/gates.txt"),
        )
