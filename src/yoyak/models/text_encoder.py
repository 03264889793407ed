"""Vectors of tokens and texts by any checkpoint: an encoder (BERT), the encoder of an encoder-decoder, a decoder-only model."""

import hashlib
import importlib.metadata
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer, PreTrainedModel
from transformers.utils import logging

from yoyak.evaluation.semantic_metrics import TokenVectors, Vectors
from yoyak.models.checkpoints import fingerprint, from_pretrained_arguments, load_config, one_line, verify_checkpoint
from yoyak.models.finite_weights import check_finite
from yoyak.system.errors import YoyakError
from yoyak.system.hardware import default_device

BATCH_SIZE = 32
# Their positions start behind that of the padding token, so that a text may have two tokens fewer.
_OFFSET_POSITIONS, _OFFSET = ("roberta", "xlm-roberta", "camembert", "mpnet", "data2vec-text"), 2
_UNLIMITED = 1_000_000  # transformers states a larger length where a tokenizer has no limit


class TextEncoder:
    """A checkpoint that turns texts into vectors, in float32, on the GPU if there is one.

    A text that is longer than the model reads is cut at its end, with a warning. The same texts in the same order give the same
    vectors.
    """

    def __init__(self, checkpoint: str, revision: str | None, *, layer: int | None = None, pooling: str = "mean") -> None:
        """Load a model.

        Args:
            checkpoint: a folder, or a name on a hub.
            revision: the commit on the hub.
            layer: the hidden layer of `token_vectors`, counted from 1; None for the last one.
            pooling: "mean" of the tokens or vector of the first one ("cls"), for `text_vectors`.

        Raises:
            YoyakError: for a missing or damaged checkpoint, or a layer that the model does not have.
        """
        arguments = from_pretrained_arguments(checkpoint, revision)
        verify_checkpoint(checkpoint)
        config = load_config(arguments)
        self.layer, self.pooling = layer, pooling
        self.tokenizer = _load_tokenizer(checkpoint, arguments)
        self.model = _load_model(checkpoint, arguments, config)
        layers = int(self.model.config.num_hidden_layers)
        if layer is not None and layer > layers:
            raise YoyakError(f"layer: {layer} is more than the {layers} layers of {checkpoint}")
        self.longest = _longest(config, self.tokenizer)
        self.checkpoint, self.cut = checkpoint, 0
        place = f"@{revision}" if not Path(checkpoint).is_dir() else f"#{_digest(checkpoint)}"
        name = Path(checkpoint).name if Path(checkpoint).is_dir() else checkpoint
        self.description = f"model:{name}{place}|transformers:{importlib.metadata.version('transformers')}"

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of each text, with special tokens, cut to the length that the model reads."""
        if not texts:
            return []
        encoded: list[list[int]] = self.tokenizer(list(texts)).input_ids
        if self.longest is None:
            return encoded
        if long := sum(len(ids) > self.longest for ids in encoded):
            self._warn(long)
            encoded = self.tokenizer(list(texts), truncation=True, max_length=self.longest).input_ids
        return encoded

    def _warn(self, count: int) -> None:
        if not self.cut:
            print(
                f"{self.checkpoint}: it reads {self.longest} tokens; {count} texts are longer and are cut at their end",
                file=sys.stderr,
                flush=True,
            )
        self.cut += count

    def token_vectors(self, texts: Sequence[str]) -> list[TokenVectors]:
        """The vectors of the tokens of each text, of length 1, in the chosen layer."""
        found: dict[int, TokenVectors] = {}
        for places, ids, hidden, mask in self._batches(texts, layer=self.layer):
            unit = torch.nn.functional.normalize(hidden, dim=-1).cpu().numpy()
            for row, place in enumerate(places):
                count = int(mask[row].sum())
                found[place] = TokenVectors(ids[row], self._special(ids[row]), unit[row, :count])
        return [found[place] for place in range(len(texts))]

    def text_vectors(self, texts: Sequence[str]) -> Vectors:
        """(texts, size): the pooled vectors of the last layer, of length 1."""
        found: dict[int, Vectors] = {}
        for places, _, hidden, mask in self._batches(texts, layer=None):
            if self.pooling == "cls":
                pooled = hidden[:, 0]
            else:
                weight = mask[:, :, None].to(hidden.dtype)
                pooled = (hidden * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)
            found |= dict(zip(places, torch.nn.functional.normalize(pooled, dim=-1).cpu().numpy(), strict=True))
        return np.stack([found[place] for place in range(len(texts))])

    def _special(self, ids: list[int]) -> NDArray[np.bool_]:
        special = set(self.tokenizer.all_special_ids) - {self.tokenizer.unk_token_id}
        return np.array([id_ in special for id_ in ids], dtype=np.bool_)

    @torch.inference_mode()
    def _batches(
        self, texts: Sequence[str], *, layer: int | None
    ) -> Iterator[tuple[list[int], list[list[int]], torch.Tensor, torch.Tensor]]:
        """For each batch: places of its texts, their ids, hidden states (rows, tokens, size) and the mask (rows, tokens).

        Texts of similar length are together, so that little is padded.
        """
        encoded = self.token_ids(texts)
        device = self.model.device
        order = sorted(range(len(texts)), key=lambda place: (len(encoded[place]), place))
        for start in range(0, len(order), BATCH_SIZE):
            places = order[start : start + BATCH_SIZE]
            ids = [encoded[place] for place in places]
            width = max(1, *map(len, ids))
            padding = self.tokenizer.pad_token_id or 0  # the mask hides it
            tokens = torch.tensor([row + [padding] * (width - len(row)) for row in ids], device=device)
            mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ids], device=device)
            output = self.model(input_ids=tokens, attention_mask=mask, output_hidden_states=layer is not None)
            yield places, ids, output.last_hidden_state if layer is None else output.hidden_states[layer], mask


def _load_tokenizer(checkpoint: str, arguments: dict[str, Any]) -> Any:
    try:
        return AutoTokenizer.from_pretrained(**arguments)
    except Exception as error:  # the tokenizers library raises plain Exception, and a damaged file any class
        raise YoyakError(f"{checkpoint}: its tokenizer cannot be loaded: {one_line(error)}") from error


def _load_model(checkpoint: str, arguments: dict[str, Any], config: Any) -> PreTrainedModel:
    before = logging.get_verbosity()
    try:
        logging.set_verbosity_error()  # weights of a head that no metric uses are no warning
        model, info = AutoModel.from_pretrained(**arguments, config=config, dtype=torch.float32, output_loading_info=True)
    except Exception as error:  # safetensors, torch and the hub raise exceptions of their own classes
        raise YoyakError(f"{checkpoint}: the model cannot be loaded: {one_line(error)}") from error
    finally:
        logging.set_verbosity(before)
    if config.is_encoder_decoder:
        model = model.get_encoder()
    # BERT's pooler is used by no metric, and checkpoints for masked words have none.
    missing = sorted(key for key in info["missing_keys"] if not key.startswith(("pooler.", "decoder.")))
    if missing:  # transformers would fill them with random numbers
        raise YoyakError(f"{checkpoint}: {len(missing)} weights of the model are missing from its files, first {missing[0]}")
    check_finite(checkpoint, ((name, weight) for name, weight in model.named_parameters() if not name.startswith("pooler.")))
    return model.eval().to(default_device())


def _longest(config: Any, tokenizer: Any) -> int | None:
    """The tokens that a text may have; None if there is no limit."""
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and config.model_type in _OFFSET_POSITIONS:
        positions -= _OFFSET
    limits = [limit for limit in (positions, tokenizer.model_max_length) if limit is not None and limit < _UNLIMITED]
    return min(limits, default=None)


def _digest(folder: str) -> str:
    """The first digits of a hash of the config and the weights of a folder."""
    return hashlib.sha256(json.dumps(fingerprint(folder), sort_keys=True).encode()).hexdigest()[:12]
