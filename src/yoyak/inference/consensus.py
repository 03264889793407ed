"""Consensus decoding: of several summaries of a dialogue, take the one that agrees most with all of them.

The summary with the highest expected utility is taken, where the other candidates stand for what the model would write (minimum
Bayes risk decoding). Sources: Kumar and Byrne 2004; Eikema and Aziz 2020, arXiv:2005.10283, for samples.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from yoyak.config.generation_section import Generation
from yoyak.data.person_tags import PersonTags, restore_person_tags
from yoyak.evaluation import rouge
from yoyak.evaluation.facts import FactFinder
from yoyak.evaluation.morphemes import Morphemes
from yoyak.evaluation.unsupported_facts import unsupported_facts
from yoyak.inference.backends.base import Writer
from yoyak.inference.outputs import Candidate, Output
from yoyak.inference.postprocessing import without_artefacts
from yoyak.inference.prompt_inputs import input_of
from yoyak.inference.scoring import Scored
from yoyak.system.errors import YoyakError

SEED_STEP = 1_000_003  # between the seeds of two candidates; seeds of batches are near each other
LARGEST_SEED = 2**31  # APIs take 32-bit integers

# From pairs of texts (one, other) to how well the first agrees with the second, (pairs,).
Utility = Callable[[Sequence[tuple[str, str]]], NDArray[np.float64]]


def candidate_seed(seed: int, number: int) -> int:
    """The seed of a candidate of a batch; that of the first one is the batch's own."""
    return (seed + number * SEED_STEP) % LARGEST_SEED if number else seed


class BeamWriter(Protocol):
    """A writer that gives several results of one beam search."""

    def write_beams(
        self, encoded: Sequence[Any], dialogues: Sequence[str], *, seed: int, count: int
    ) -> list[list[tuple[Output, float]]]:
        """The `count` best results for each row with the logarithm of their probability, the best first."""


class ScoringWriter(Protocol):
    """A writer that knows how probable the model finds its texts."""

    def write_scored(self, encoded: Sequence[Any], dialogues: Sequence[str], *, seed: int, count: int) -> list[list[Scored]]:
        """For each row a text as `write` writes it, or the `count` best results of one beam search, with their probability."""


@dataclass(frozen=True)
class Weighted:
    """A candidate with its share of the weight of all candidates of its row."""

    output: Output
    weight: float


def rouge_utility() -> Utility:
    """The mean of the F1 of ROUGE-1, -2 and -L on morphemes, from 0 to 100."""
    morphemes = Morphemes()

    def utility(pairs: Sequence[tuple[str, str]]) -> NDArray[np.float64]:
        scores = rouge.score_rows(
            predictions=[one for one, _ in pairs], references=[[other] for _, other in pairs], tokenizer=morphemes
        )
        means: NDArray[np.float64] = np.asarray(scores).mean(axis=1)
        return means

    return utility


def chrf_utility() -> Utility:
    """chrF of sacrebleu with its defaults (six characters, beta 2), from 0 to 100.

    Raises:
        YoyakError: if sacrebleu is not installed.
    """
    try:
        from sacrebleu.metrics.chrf import CHRF
    except ImportError:
        raise YoyakError("generation.consensus.utility: chrf needs sacrebleu: pip install 'yoyak[chrf]'") from None
    metric = CHRF()

    def utility(pairs: Sequence[tuple[str, str]]) -> NDArray[np.float64]:
        return np.array([metric.sentence_score(one, [other]).score for one, other in pairs])

    return utility


UTILITIES: dict[str, Callable[[], Utility]] = {"rouge": rouge_utility, "chrf": chrf_utility}


def expected_utilities(rows: Sequence[Sequence[tuple[str, float]]], utility: Utility) -> list[list[float]]:
    """For each text of each row: the mean of its agreement with all texts of the row, by their weights.

    Args:
        rows: the different texts of each row with their weights, which add up to 1.
        utility: measures pairs of different texts. The agreement of a text with itself is 100.
    """
    pairs = [
        (one, other)
        for texts in rows
        for place, (one, _) in enumerate(texts)
        for place_of_other, (other, _) in enumerate(texts)
        if place != place_of_other
    ]
    values = iter(utility(pairs) if pairs else ())
    return [
        [
            sum(weight * (100.0 if other == place else float(next(values))) for other, (_, weight) in enumerate(texts))
            for place in range(len(texts))
        ]
        for texts in rows
    ]


def choose(
    rows: Sequence[Sequence[Weighted]], utility: Utility, penalty: Callable[[int, str], float] = lambda _row, _text: 0.0
) -> list[Output]:
    """The output with the highest expected utility for each row; of equals the first one.

    Equal texts are one candidate with their weights together. The result has all candidates (`Output.candidates`). An empty
    text is a candidate only if there is no other: in a beam search it can be more probable than any summary, being so short.

    Args:
        rows: the candidates of each row.
        utility: how well two texts agree.
        penalty: what the utility of a text loses, by the number of the row and the text.
    """
    merged: list[dict[str, float]] = []
    for candidates in rows:
        weights: dict[str, float] = {}
        written = [candidate for candidate in candidates if candidate.output.text.strip()] or candidates
        total = sum(candidate.weight for candidate in written)
        for candidate in written:
            weights[candidate.output.text] = weights.get(candidate.output.text, 0.0) + candidate.weight / total
        merged.append(weights)
    chosen = []
    agreements = expected_utilities([list(weights.items()) for weights in merged], utility)
    for row, (candidates, weights, agreement) in enumerate(zip(rows, merged, agreements, strict=True)):
        utilities = [value - penalty(row, text) for text, value in zip(weights, agreement, strict=True)]
        best = max(range(len(utilities)), key=lambda place: utilities[place])  # the first of equals
        text = list(weights)[best]
        output = next(candidate.output for candidate in candidates if candidate.output.text == text)
        all_candidates = tuple(
            Candidate(other, round(weight, 6), round(value, 4))
            for (other, weight), value in zip(weights.items(), utilities, strict=True)
        )
        chosen.append(replace(output, candidates=all_candidates))
    return chosen


class FactPenalty:
    """What a summary loses for the names, numbers and tags that its dialogue does not state."""

    def __init__(self, points: float, person_tags: PersonTags) -> None:
        """
        Args:
            points: for each such fact; 0 for no penalty.
            person_tags: preprocess.person_tags, how texts and dialogues write speaker tags.
        """
        self.points, self.person_tags = points, person_tags
        self.finder = FactFinder(Morphemes()) if points else None

    def of(self, text: str, dialogue: str) -> float:
        if self.finder is None:
            return 0.0
        summary, source = (restore_person_tags(one, self.person_tags) for one in (text, dialogue))
        found = unsupported_facts(summary, source, self.finder)
        return self.points * (len(found.names) + len(found.numbers) + len(found.tags))


class ConsensusWriter:
    """Writes several summaries of each row with another writer, and returns the one that agrees most with the others."""

    def __init__(self, writer: Writer, settings: Generation, person_tags: PersonTags) -> None:
        """
        Args:
            writer: writes the candidates.
            settings: section generation.
            person_tags: preprocess.person_tags, how the candidates write speaker tags.
        """
        self.writer, self.settings = writer, settings
        self.utility = UTILITIES[settings.consensus.utility]()
        self.penalty = FactPenalty(settings.consensus.facts, person_tags)

    def __getattr__(self, name: str) -> Any:
        """What the other writer has besides `write`, such as `rows_at_once` and `report`."""
        return getattr(self.writer, name)

    def write(self, encoded: Sequence[Any], dialogues: Sequence[str], *, seed: int) -> list[Output]:
        candidates = self._candidates(encoded, dialogues, seed=seed)
        return choose(candidates, self.utility, lambda row, text: self.penalty.of(text, dialogues[row]))

    def _candidates(self, encoded: Sequence[Any], dialogues: Sequence[str], *, seed: int) -> list[list[Weighted]]:
        consensus = self.settings.consensus
        if consensus.weights == "probability":
            rows = self._scored(encoded, dialogues, seed=seed)
            return [weights_by_probability(row, consensus.weights_temperature) for row in rows]
        count = consensus.candidates
        if consensus.source == "beams":
            writer: BeamWriter = self.writer  # type: ignore[assignment]
            beams = writer.write_beams(encoded, dialogues, seed=seed, count=count)
            return [_weighted(row) if consensus.weights == "auto" else _equal([output for output, _ in row]) for row in beams]
        rounds = [
            self.writer.write([input_of(item, number) for item in encoded], dialogues, seed=candidate_seed(seed, number))
            for number in range(count)
        ]
        return [_equal(outputs) for outputs in zip(*rounds, strict=True)]

    def _scored(self, encoded: Sequence[Any], dialogues: Sequence[str], *, seed: int) -> list[list[Scored]]:
        """The candidates of each row with their probability, each by the input that it was written for."""
        writer: ScoringWriter = self.writer  # type: ignore[assignment]
        count = self.settings.consensus.candidates
        if self.settings.consensus.source == "beams":
            return writer.write_scored(encoded, dialogues, seed=seed, count=count)
        rounds = [
            writer.write_scored(
                [input_of(item, number) for item in encoded], dialogues, seed=candidate_seed(seed, number), count=1
            )
            for number in range(count)
        ]
        return [[one for (one,) in row] for row in zip(*rounds, strict=True)]


def _equal(outputs: Sequence[Output]) -> list[Weighted]:
    return [Weighted(output, 1 / len(outputs)) for output in without_artefacts(outputs)]


def weights_by_probability(row: Sequence[Scored], temperature: float) -> list[Weighted]:
    """Candidates with the softmax of the mean logarithm of their tokens' probabilities as weights.

    A text that was written several times weighs once, because its probability says already how often it is written: this is
    the model-based estimate with length normalization (MBMBR_L) of Jinnai et al. 2024, arXiv:2311.05263, where the temperature
    is 1. mbrs (github.com/naist-nlp/mbrs) takes the softmax of the log-probabilities that it is given, mbr (ZurichNLP) and
    comet-mbr (Unbabel) weight all equally. An empty text is a candidate only if there is no other, as in `choose`.

    Args:
        row: the candidates of a dialogue.
        temperature: divides the means.
    """
    outputs = without_artefacts([one.output for one in row])
    means: dict[str, float] = {}
    for output, one in zip(outputs, row, strict=True):
        mean = one.log_probability / one.tokens
        means[output.text] = max(mean, means.get(output.text, mean))
    if any(text.strip() for text in means):
        means = {text: mean for text, mean in means.items() if text.strip()}
    weights = _softmax(np.array(list(means.values())) / temperature)
    first = {output.text: output for output in reversed(outputs)}
    return [Weighted(first[text], float(weight)) for text, weight in zip(means, weights, strict=True)]


def _softmax(logs: NDArray[np.float64]) -> NDArray[np.float64]:
    weights = np.exp(logs - logs.max())
    softmax: NDArray[np.float64] = weights / weights.sum()
    return softmax


def _weighted(beams: Sequence[tuple[Output, float]]) -> list[Weighted]:
    """Results of a beam search with the softmax of their log-probabilities as weights."""
    weights = _softmax(np.array([log for _, log in beams]))
    outputs = without_artefacts([output for output, _ in beams])
    return [Weighted(output, float(weight)) for output, weight in zip(outputs, weights, strict=True)]
