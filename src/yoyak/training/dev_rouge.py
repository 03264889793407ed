"""ROUGE of what a model writes for the dev split, after each epoch of its training."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import datasets
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from yoyak.config.generation_section import Generation
from yoyak.config.training_section import Training
from yoyak.data.person_tags import PersonTags, restore_person_tags
from yoyak.evaluation import rouge
from yoyak.evaluation.morphemes import Morphemes
from yoyak.inference.backend_choice import choose_backend
from yoyak.inference.decoding import generate
from yoyak.models.families.base import LoadedModel
from yoyak.system.processes import rank, world_size
from yoyak.training.process_group import from_first, share


@dataclass(frozen=True)
class DevReferences:
    """What the summaries of dev are compared with: the same texts as in the stage score.

    The labels cannot be used. They are cut at `tokenizer.max_target_length`, and cleaned.

    Attributes:
        texts: all reference summaries of each row of dev, as the data has them (`references` of the processed rows).
        person_tags: how speaker tags were replaced; they are restored before scoring.
    """

    texts: Sequence[Sequence[str]]
    person_tags: PersonTags


def dev_rouge_function(
    dev: datasets.Dataset,
    tokenizer: PreTrainedTokenizerBase,
    training: Training,
    *,
    references: DevReferences,
    max_target_length: int,
) -> Callable[[PreTrainedModel], dict[str, float]]:
    """A function that writes summaries for `dev` with a model, and gives their ROUGE (F1 x 100) by name.

    It leaves the model and torch's random numbers as they are, so that the training does not depend on it. Processes that train
    together each write a share of the rows, and all get the result of process 0.

    Args:
        dev: tokenized rows with input_ids and labels.
        tokenizer: the model's.
        training: `generation_num_beams`, `per_device_eval_batch_size` and `seed` are used.
        references: of at least the rows of `dev`, in the same order. With several references of a row, the mean counts.
        max_target_length: the largest number of tokens of a summary.
    """
    morphemes = Morphemes()
    # The rows of a decoder-only model hold prompt and target. Labels of -100 are the prompt.
    inputs = [
        ids[: labels.count(-100)] if -100 in labels else ids
        for ids, labels in zip(dev["input_ids"], dev["labels"], strict=True)
    ]
    settings = Generation.plain(  # the section `generation` has no effect here, or a change to it would retrain the model
        max_new_tokens=max_target_length,
        num_beams=training.generation_num_beams,
        seed=training.seed,
        batch_size=training.per_device_eval_batch_size,
    )

    def dev_rouge(model: PreTrainedModel) -> dict[str, float]:
        generation_config = model.generation_config
        with torch.random.fork_rng():
            # Converting uses up a decoder-only model, which has to be trained further. An encoder-decoder stays as it is.
            backend = "auto" if model.config.is_encoder_decoder else "transformers"
            chosen = settings.model_copy(update={"backend": backend})
            writer = choose_backend(LoadedModel("", model, tokenizer), chosen, threads=None).writer
            own = inputs[rank() :: world_size()]
            outputs = generate(writer, own, [""] * len(own), settings=settings, progress="write dev") if own else []
        model.generation_config = generation_config
        shares = share([restore_person_tags(output.text, references.person_tags) for output in outputs])
        texts = [shares[row % world_size()][row // world_size()] for row in range(len(inputs))]
        scores: dict[str, float] = from_first(_scores(texts) if rank() == 0 else None)
        return scores

    def _scores(texts: list[str]) -> dict[str, float]:
        return rouge.summarize(
            rouge.score_rows(predictions=texts, references=references.texts[: len(dev)], tokenizer=morphemes)
        )

    return dev_rouge
