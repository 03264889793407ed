"""Proposals for the two lengths, by hand."""

from typing import Any

from yoyak.config.sections import Tokenizer
from yoyak.models.length_proposals import LengthProposal, describe_proposals, propose_lengths, proposed_length, tokenize_advice

SETTINGS = Tokenizer(max_input_length=512, max_target_length=100, truncation="middle", special_tokens=[], new_tokens=0)
LIMITS = {"tokenizer.max_input_length": 512, "tokenizer.max_target_length": 100}
# 100 summaries: 90 of 80 tokens, 9 of 120, one of 400.
SUMMARIES = [80] * 90 + [120] * 9 + [400]


def test_a_proposal_is_the_99th_percentile_rounded_up_to_8() -> None:
    found = LengthProposal.from_lengths("max_target_length", 100, "summaries", SUMMARIES, 1024)
    assert (found.cut, found.percentiles, found.proposal) == (10, {95: 120, 99: 120, 100: 400}, 120)
    assert found.change == "-S tokenizer.max_target_length=120"
    assert str(found) == (
        "tokenizer.max_target_length 100 cuts 10 of 100 summaries (10.0%); 95 % need 120, 99 % need 120, all need 400; "
        "the model allows up to 1,024"
    )
    assert proposed_length(121, None) == 128 and proposed_length(121, 125) == 125


def test_nothing_is_proposed_where_enough_is_kept_or_nothing_longer_is_possible() -> None:
    kept = LengthProposal.from_lengths("max_target_length", 120, "summaries", SUMMARIES, None)
    assert (kept.cut, kept.proposal, kept.change) == (1, None, "")
    full = LengthProposal.from_lengths("max_target_length", 100, "summaries", SUMMARIES, 100)
    assert full.proposal is None
    assert "cuts none of 2" in str(LengthProposal.from_lengths("max_input_length", 512, "dialogues", [3, 4], None))


def test_the_command_can_be_pasted_and_raises_what_the_model_may_write() -> None:
    proposals = propose_lengths({"dialogue": [600] * 10, "prompt": [], "summary": SUMMARIES}, SETTINGS, LIMITS, 1024)
    lines = describe_proposals(proposals, max_new_tokens=100)
    assert len(lines) == 3
    assert lines[-1].endswith(
        "dvc exp run -S tokenizer.max_input_length=600 -S tokenizer.max_target_length=120 -S generation.max_new_tokens=120"
    )
    assert "max_new_tokens" not in describe_proposals(proposals, max_new_tokens=200)[-1]
    assert len(describe_proposals(propose_lengths({"dialogue": [9]}, SETTINGS, LIMITS, 1024), max_new_tokens=9)) == 1


def test_tokenize_says_what_to_set_from_its_metrics() -> None:
    summary = {"truncated": 30, "tokens_p95": 350, "tokens_max": 640}
    report: dict[str, dict[str, Any]] = {"train": {"rows": 100, "summary": summary}, "test": {"rows": 100}}
    (line,) = tokenize_advice(report, SETTINGS, LIMITS, 1024)
    assert "cuts 30 of 100 summaries (30.0%); 95 % need at most 350 tokens" in line
    assert line.endswith("dvc exp run -S tokenizer.max_target_length=640")
    (line,) = tokenize_advice(report, SETTINGS, LIMITS, 512)
    assert line.endswith("-S tokenizer.max_target_length=512 (the model allows no more; 640 would keep all)")
    short = SETTINGS.model_copy(update={"max_input_length": 50})
    (line,) = tokenize_advice(report, short, LIMITS | {"tokenizer.max_input_length": 50}, 100)
    assert line == "tokenizer.max_target_length 100 is all that the model allows, and cuts 30 of 100 summaries"
    summary["truncated"] = 1
    assert tokenize_advice(report, SETTINGS, LIMITS, 1024) == []
