"""What doctor and show say about augmentation."""

import pytest

from tests.augmentation.runs import workspace
from yoyak.augmentation.methods.noise import Noise
from yoyak.augmentation.report import describe_plan, describe_report
from yoyak.system.errors import YoyakError


def test_the_plan_names_methods_and_what_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    params = workspace("augment.noise.rate=0.5", "augment.templates.rate=4").params
    note = "templates: nothing to do, it has no effect on the family kobart"
    assert describe_plan(params) == f"noise: 0.5 for each train row; {note}"
    monkeypatch.setattr(Noise, "check", lambda self: "(by hand)")
    assert describe_plan(params).startswith("noise: 0.5 for each train row (by hand);")

    def fails(self: Noise) -> str:
        raise YoyakError("no keyboard")

    monkeypatch.setattr(Noise, "check", fails)
    with pytest.raises(YoyakError, match="no keyboard"):
        describe_plan(params)
    assert describe_plan(workspace().params).startswith("nothing to do")


def test_the_report_in_a_line() -> None:
    methods = {"noise": {"kept": 7}, "speaker_swap": {"kept": 3}}
    assert describe_report({"added": 10, "methods": methods}) == "augment added 10 rows to train (noise 7, speaker_swap 3)"
    assert describe_report({"added": 0}) == ""
