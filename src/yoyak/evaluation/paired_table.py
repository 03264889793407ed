"""Results of paired tests as text for a terminal of 100 columns."""

from collections.abc import Mapping

from yoyak.evaluation.paired_tests import ALPHA, PairedResult

MIN_ROWS = 30  # with fewer rows the table says that the tests can hardly show anything


def paired_table(results: Mapping[str, Mapping[str, PairedResult]], *, base: str, rows: int) -> list[str]:
    """The lines of the table.

    Args:
        results: of each metric (outer key) and each system (inner key), as `compare_metrics` returns them.
        base: the name of what the systems are compared with.
        rows: number of dialogues.
    """
    systems = list(next(iter(results.values())))
    width = max(map(len, [base, *systems])) + 1
    lines = [
        f"{rows} dialogues, each run against {base}. Intervals: paired bootstrap. p: approximate randomization"
        + (", corrected for the number of runs (Holm)." if len(systems) > 1 else ".")
    ]
    if rows < MIN_ROWS:
        lines.append(f"WARNING: only {rows} dialogues; so few can hardly show a difference.")
    lines += ["", f"{'metric':20}{'run':{width}}{'mean':>9}{'difference':>12}  {'95 % interval':^18}{'p':>8}  verdict"]
    for metric, by_system in results.items():
        lines.append(f"{metric:20}{base:{width}}{next(iter(by_system.values())).other_mean:9.2f}")
        for name, result in by_system.items():
            low, high = result.interval
            lines.append(
                f"{'':20}{name:{width}}{result.mean:9.2f}{result.difference:+12.2f}  {f'{low:+.2f} to {high:+.2f}':^18}"
                f"{result.p_corrected:8.4f}  {result.verdict}"
            )
    counts = {metric: next(iter(by_system.values())).rows for metric, by_system in results.items()}
    lines += [
        f"{metric}: over the {count} dialogues in which all runs have it" for metric, count in counts.items() if count != rows
    ]
    metric = "rouge_sum" if "rouge_sum" in results else next(iter(results))
    lines += ["", f"dialogues by {metric}:"]
    lines += [
        f"  {name:{width}} better in {result.wins}, worse in {result.losses}, equal in {result.ties}"
        for name, result in results[metric].items()
    ]
    lines.append(f'"better" and "worse": p < {ALPHA}. "no difference shown" does not mean that the runs are equal.')
    return lines
