"""What the stage ensemble does: read the members, choose among them, and write the ensemble with a report on the choice."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from yoyak.config.sections import Params
from yoyak.ensembles.consensus_method import ConsensusMethod
from yoyak.ensembles.members import Member, Rows, check_members, read_processed
from yoyak.ensembles.model_methods import ProbabilitiesMethod, WeightsMethod
from yoyak.ensembles.selection import RowScores, Selection, Subset, describe_choice
from yoyak.models.families.ensemble import DESCRIPTION_FILE
from yoyak.system import hardware
from yoyak.system.atomic import atomic_folder
from yoyak.system.resumable import work_folder
from yoyak.system.text_files import write_json

SEED = 42  # of the paired tests and of the halves of dev


class Method(Protocol):
    """A way to make one of several members.

    Attributes:
        backward: whether a greedy choice starts with all members.
        rows: rouge_sum of each dialogue of dev for an ensemble of some members.
    """

    backward: bool
    rows: RowScores

    def write(self, chosen: Subset, folder: Path) -> Mapping[str, Any]:
        """Write the ensemble into an empty folder, and return what ensemble.json says of it."""


def make_method(members: Sequence[Member], ours: Rows, params: Params, kept: Path) -> Method:
    """The method that `model.ensemble.method` names."""
    methods: dict[str, Callable[..., Method]] = {
        "consensus": ConsensusMethod,
        "average_weights": WeightsMethod,
        "average_probabilities": ProbabilitiesMethod,
    }
    return methods[params.model.ensemble.method](members, ours, params, kept)


def build_ensemble(params: Params, *, root: Path, processed: Path, output: Path, metrics: Path) -> None:
    """Make models/ensemble and metrics/ensemble.json. A killed run goes on with what it has kept.

    Args:
        params: sections model, preprocess and hardware.
        root: the repository that has the members' commits.
        processed: folder of the processed rows.
        output: folder for the ensemble.
        metrics: file for the report.

    Raises:
        YoyakError: if a member is missing, or does not fit to the others or to the data.
    """
    settings = params.model.ensemble
    hardware.configure_cpu(params.hardware.cpu_threads)
    ours = read_processed(processed)
    members = [Member.at(root, commit) for commit in settings.members]
    check_members(members, ours)
    depends_on = {"model": params.model, "preprocess": params.preprocess, "hardware": params.hardware}
    with work_folder("ensemble", depends_on, [processed]) as kept:
        method = make_method(members, ours, params, kept)
        selection = Selection(
            method.rows,
            len(members),
            greedy=settings.selection == "greedy",
            backward=method.backward,
            only_if_better=settings.keep_if == "better",
            seed=SEED,
        )
        chosen = selection.choose(np.arange(len(ours["dev"])))
        report = describe_choice(selection, chosen, settings.members, halvings=settings.halvings)
        with atomic_folder(output) as folder:
            details = method.write(chosen, folder)
            used = [settings.members[place] for place in chosen]
            write_json(folder / DESCRIPTION_FILE, {"method": settings.method, "members": used, **details})
        write_json(metrics, {"method": settings.method, "selection": settings.selection, **report})
    print("\n".join(report_lines(report)), flush=True)


def report_lines(report: Mapping[str, Any]) -> list[str]:
    """The report as text."""
    lines = [f"{'member':12}{'rouge_sum':>10}  used"]
    lines += [f"{one['commit'][:10]:12}{one['rouge_sum']:10.2f}  {'yes' if one['used'] else 'no'}" for one in report["members"]]
    against = report["against_best_member"]
    low, high = against["interval"]
    lines.append(
        f"{'ensemble':12}{report['rouge_sum']:10.2f}  against the best member {against['difference']:+.2f} "
        f"[{low:+.2f}, {high:+.2f}], p {against['p']:.4f}: {against['verdict']}"
    )
    if held := report.get("held_out"):
        lines.append(
            f"chosen on one half of dev, it has {held['on_the_half_that_chose']:.2f} there and {held['on_the_other_half']:.2f} "
            f"on the other half (mean of {2 * held['halvings']} halves): the optimism of the choice is {held['optimism']:+.2f}"
        )
        lines.append(
            f"on the other half it gains {held['gain_on_the_other_half']:+.2f} over the member that was best on the first half"
        )
    return lines
