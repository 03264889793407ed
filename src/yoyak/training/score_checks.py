"""Whether the stage score will find what it needs: Mecab, and the models and the server of the metrics that params choose."""

from yoyak.config.sections import Params
from yoyak.evaluation.morphemes import Morphemes
from yoyak.inference.chosen_metrics import score_metrics
from yoyak.inference.endpoint import client


def describe_score(params: Params) -> str:
    """The signature of each metric that is built, and what the server of the judge answers. No dialogue is sent.

    Raises:
        YoyakError: if Mecab or a model cannot be loaded, or the server does not answer.
    """
    judge = params.score.judge
    rouge, *others = score_metrics(params.score, tokenizer=Morphemes(), threads=params.hardware.cpu_threads)
    lines = [f"Mecab loads; {rouge.signature()}"]
    always = ("facts", "surface")
    lines += [metric.signature() for metric in others if metric.name not in always]
    if judge.votes:
        lines.append(f"judge: {describe_model(judge.model, judge.url, client.offered_models(judge))}")
    return "\n      ".join(lines)


def describe_model(model: str, url: str, offered: list[str]) -> str:
    """Whether a server lists a model."""
    if model in offered:
        return f"{url} has {model}"
    listed = ", ".join(offered[:20]) + (", …" if len(offered) > 20 else "")
    return f"{url} answers; it does not list {model}, but {listed or 'no model'}"
