"""Several encoder-decoders that write together: for each next token, the mean of their probabilities.

The model has the interface that transformers' `generate` needs: beam search, sampling and all penalties work as with one model.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import DynamicCache, EncoderDecoderCache, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput

from yoyak.models.families.base import LoadedModel
from yoyak.models.families.kobart import FAMILY


@dataclass
class _Step:
    """What is remembered between two tokens.

    Attributes:
        encoded: (rows, tokens, sum of hidden sizes) of the encoders; other ones belong to another batch.
        source: (rows,) the number of each row's dialogue: rows of one dialogue can take each other's place in a beam search.
        ids: (rows, length) the decoder's ids that the caches hold.
        caches: of each model.
    """

    encoded: torch.Tensor
    source: torch.Tensor
    ids: torch.Tensor
    caches: list[Any]


class _Encoders(torch.nn.Module):
    """All encoders at once, with their outputs side by side."""

    main_input_name = "input_ids"

    def __init__(self, models: Sequence[PreTrainedModel]) -> None:
        super().__init__()
        self.encoded_by = list(models)  # not registered: AveragedModel has the parameters

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: Any) -> BaseModelOutput:
        states = [
            model.get_encoder()(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            for model in self.encoded_by
        ]
        return BaseModelOutput(last_hidden_state=torch.cat(states, dim=-1))


class AveragedModel(PreTrainedModel, GenerationMixin):  # type: ignore[misc]
    """Encoder-decoders with one tokenizer. It can only write: it is neither trained nor saved."""

    _supports_sdpa = _supports_flash_attn = True  # its attention is that of the models

    def __init__(self, models: Sequence[PreTrainedModel]) -> None:
        """
        Args:
            models: encoder-decoders with the same vocabulary. The first one's config is that of this model.
        """
        super().__init__(copy.deepcopy(models[0].config))
        self.averaged_models = torch.nn.ModuleList(models)
        self.encoders = _Encoders(models)
        self.generation_config = models[0].generation_config
        self._step: _Step | None = None
        self.eval()

    def get_encoder(self, modality: str | None = None) -> _Encoders:
        return self.encoders

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False  # `generate` would make a cache for one model

    def prepare_inputs_for_generation(
        self, input_ids: torch.Tensor, *, encoder_outputs: Any, attention_mask: torch.Tensor, **_: Any
    ) -> dict[str, Any]:
        return {"decoder_input_ids": input_ids, "encoder_outputs": encoder_outputs, "attention_mask": attention_mask}

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        decoder_input_ids: torch.Tensor | None = None,
        encoder_outputs: Any = None,
        **_: Any,
    ) -> Seq2SeqLMOutput:
        """The logarithm of the mean of the models' probabilities of the next token, as logits (rows, 1, vocabulary)."""
        assert decoder_input_ids is not None and encoder_outputs is not None
        encoded = encoder_outputs.last_hidden_state
        step, new_ids = self._continue(encoded, decoder_input_ids)
        sizes = [model.get_encoder().config.hidden_size for model in self.encoders.encoded_by]
        logs = []
        for model, cache, states in zip(self.averaged_models, step.caches, encoded.split(sizes, dim=-1), strict=True):
            output = model(
                encoder_outputs=BaseModelOutput(last_hidden_state=states),
                attention_mask=attention_mask,
                decoder_input_ids=new_ids,
                past_key_values=cache,
                use_cache=True,
            )
            logs.append(output.logits[:, -1:].float().log_softmax(dim=-1))
        self._step = step
        # log((p1 + … + pK) / K); the constant has no effect on a choice, but logits are probabilities with it.
        mean = torch.logsumexp(torch.stack(logs), dim=0) - math.log(len(logs))
        return Seq2SeqLMOutput(logits=mean)

    def _continue(self, encoded: torch.Tensor, ids: torch.Tensor) -> tuple[_Step, torch.Tensor]:
        """The caches for `ids`, and the ids that they do not hold yet: the last one of each row, or all of a new batch.

        A beam search orders its rows anew at each token. Each row takes the caches of an earlier row of the same dialogue that
        it continues.
        """
        last = self._step
        if last is not None and last.encoded is encoded and ids.shape[1] == last.ids.shape[1] + 1:
            same = (ids[:, None, :-1] == last.ids[None]).all(dim=-1) & (last.source[:, None] == last.source[None])
            if bool(same.any(dim=1).all()):
                origin = same.int().argmax(dim=1)
                for cache in last.caches:
                    cache.reorder_cache(origin)
                return _Step(encoded, last.source, ids, last.caches), ids[:, -1:]
        is_same_batch = last is not None and last.encoded is encoded
        source = last.source if last is not None and is_same_batch else _dialogues(encoded)
        caches = [EncoderDecoderCache(DynamicCache(), DynamicCache()) for _ in self.averaged_models]
        return _Step(encoded, source, ids, caches), ids


def _dialogues(encoded: torch.Tensor) -> torch.Tensor:
    """A number for each row, the same for rows with the same dialogue."""
    numbers: torch.Tensor = torch.unique(encoded.flatten(1), dim=0, return_inverse=True)[1]
    return numbers


def load_averaged(folders: Sequence[Path]) -> LoadedModel:
    """The models in `folders`, which must have one tokenizer, as one model of the family kobart."""
    loaded = [FAMILY.load_trained(folder) for folder in folders]
    model = AveragedModel([one.model for one in loaded]) if len(loaded) > 1 else loaded[0].model
    return LoadedModel(FAMILY.name, model, loaded[0].tokenizer)
