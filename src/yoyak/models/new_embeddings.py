"""The first embeddings of tokens that a checkpoint does not have: the mean of those of their pieces.

Source: Koto et al. 2021, IndoBERTweet (arXiv:2109.04607), who compare it with random and projected starts.
"""

from collections.abc import Mapping, Sequence

import torch
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from yoyak.models.checkpoints import from_pretrained_arguments


def pieces_of_new_tokens(checkpoint: str, revision: str | None, tokenizer: PreTrainedTokenizerBase) -> dict[int, list[int]]:
    """For each new token id, the ids of the pieces into which the checkpoint's own tokenizer splits the same text."""
    own = AutoTokenizer.from_pretrained(**from_pretrained_arguments(checkpoint, revision))
    known = own.get_vocab()
    added = {token: token_id for token, token_id in tokenizer.get_vocab().items() if token not in known}
    by_id = sorted(added.items(), key=lambda item: item[1])
    return {token_id: own(token, add_special_tokens=False).input_ids for token, token_id in by_id}


def fill_new_rows(model: PreTrainedModel, pieces: Mapping[int, Sequence[int]]) -> None:
    """Set the rows of new tokens in the embeddings and in the output layer to the mean of the rows of their pieces, in place.

    Args:
        model: with a row for each token.
        pieces: the ids of the pieces of each new token id.
    """
    with torch.no_grad():
        for module in {model.get_input_embeddings(), model.get_output_embeddings()}:
            for token_id, parts in pieces.items():
                module.weight[token_id] = module.weight[list(parts)].float().mean(0).to(module.weight.dtype)
