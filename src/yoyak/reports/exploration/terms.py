"""The terms that are typical for each topic (TF-IDF), and the most frequent ones for a word cloud."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from yoyak.reports.exploration.sample_measures import SampledRow

TOPICS, TERMS, CLOUD_TERMS = 10, 10, 70
MIN_DIALOGUES = 2  # a term of a single dialogue says nothing about a topic


class Term(NamedTuple):
    """A term with its weight and the number of dialogues that have it."""

    text: str
    weight: float
    dialogues: int


def _documents(rows: Sequence[SampledRow]) -> Counter[str]:
    return Counter(term for row in rows for term in row.terms)


def terms_by_topic(rows: Sequence[SampledRow]) -> dict[str, list[Term]]:
    """For the most frequent topics, the terms with the highest TF-IDF.

    The weight of a term in a topic is the mean over the dialogues of the topic of tf · ln(N / df): tf is how often the dialogue
    has the term, df how many of all N dialogues have it (Salton and Buckley 1988).
    """
    documents, by_topic = _documents(rows), defaultdict(list)
    for row in rows:
        if row.record.topic:
            by_topic[row.record.topic].append(row)
    frequent = sorted(by_topic, key=lambda topic: (-len(by_topic[topic]), topic))[:TOPICS]
    found = {}
    for topic in frequent:
        sums, here = Counter[str](), _documents(by_topic[topic])
        for row in by_topic[topic]:
            sums.update(row.terms)
        weights = {
            term: count / len(by_topic[topic]) * math.log(len(rows) / documents[term])
            for term, count in sums.items()
            if here[term] >= min(MIN_DIALOGUES, len(by_topic[topic]))
        }
        best = sorted(weights, key=lambda term: (-weights[term], term))[:TERMS]
        found[topic] = [Term(term, weights[term], here[term]) for term in best]
    return found


def frequent_terms(rows: Sequence[SampledRow]) -> list[Term]:
    """The terms that most dialogues have. The weight is the share of the dialogues, from 0 to 1."""
    documents = _documents(rows)
    best = sorted(documents.items(), key=lambda item: (-item[1], item[0]))[:CLOUD_TERMS]
    return [Term(term, count / len(rows), count) for term, count in best]
