"""Tiny translators with random weights, each in the form in which its kind is published."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import DIALOGUES, SUMMARIES

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
SHAPE: dict[str, Any] = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "max_position_embeddings": 64,
    "init_std": 0.5,
}


def _save_weights(folder: Path, make: Callable[[], Any]) -> None:
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(5)
        make().save_pretrained(folder)


def _characters() -> list[str]:
    return sorted(set("".join((*DIALOGUES, *SUMMARIES)) + "PersonCode0123456789."))


def save_nllb(folder: Path) -> Path:
    """NLLB: languages such as kor_Hang stand before the text."""
    from transformers import M2M100Config, M2M100ForConditionalGeneration, NllbTokenizer

    vocabulary = {token: number for number, token in enumerate([*SPECIAL, "▁", *(c for c in _characters() if not c.isspace())])}
    tokenizer = NllbTokenizer(vocab=vocabulary, merges=[])
    tokenizer.save_pretrained(folder)
    _save_weights(
        folder,
        lambda: M2M100ForConditionalGeneration(
            M2M100Config(vocab_size=len(tokenizer), decoder_start_token_id=2, pad_token_id=1, eos_token_id=2, **SHAPE)
        ),
    )
    return folder


def save_mbart(folder: Path) -> Path:
    """mBART-50: languages such as ko_KR stand before the text."""
    from transformers import MBart50Tokenizer, MBartConfig, MBartForConditionalGeneration

    pieces = [(token, 0.0) for token in SPECIAL] + [("▁", -1.0)] + [(c, -2.0) for c in _characters() if not c.isspace()]
    tokenizer = MBart50Tokenizer(vocab=pieces)
    tokenizer.save_pretrained(folder)
    config = MBartConfig(vocab_size=len(tokenizer), decoder_start_token_id=2, **SHAPE)
    _save_weights(folder, lambda: MBartForConditionalGeneration(config))
    return folder


def _train_sentencepiece(folder: Path) -> Path:
    import sentencepiece

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "text").write_text("\n".join([*DIALOGUES, *SUMMARIES, "Person1 Code1"]), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "text"), model_prefix=str(folder / "spm"), vocab_size=250, hard_vocab_limit=False, minloglevel=2
    )
    (folder / "text").unlink()
    return folder / "spm.model"


def _pieces(model: Path) -> list[str]:
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_file=str(model))
    return [processor.id_to_piece(number) for number in range(processor.get_piece_size())]


def save_m2m100(folder: Path) -> Path:
    """M2M100: languages such as __ko__, which are not in its vocabulary."""
    from transformers import M2M100Config, M2M100ForConditionalGeneration, M2M100Tokenizer

    model = _train_sentencepiece(folder)
    tokens = list(dict.fromkeys([*SPECIAL, *_pieces(model)]))
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}), encoding="utf-8")
    tokenizer = M2M100Tokenizer(str(folder / "vocab.json"), str(model))
    tokenizer.save_pretrained(folder)
    model.unlink()
    size = len(tokens) + 100 + 8  # its languages, and the words that fairseq made up
    config = M2M100Config(vocab_size=size, decoder_start_token_id=2, pad_token_id=1, eos_token_id=2, **SHAPE)
    _save_weights(folder, lambda: M2M100ForConditionalGeneration(config))
    return folder


def save_marian(folder: Path, *, source: str, target: str, codes: tuple[str, ...] = ()) -> Path:
    """Marian (Opus-MT): one direction; with `codes` such as >>kor<< several targets."""
    from transformers import MarianConfig, MarianMTModel, MarianTokenizer

    model = _train_sentencepiece(folder)
    tokens = list(dict.fromkeys(["</s>", "<unk>", *codes, *_pieces(model), "<pad>"]))
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}), encoding="utf-8")
    tokenizer = MarianTokenizer(str(model), str(model), str(folder / "vocab.json"), source_lang=source, target_lang=target)
    tokenizer.save_pretrained(folder)
    model.unlink()
    pad = len(tokens) - 1
    config = MarianConfig(
        vocab_size=len(tokens),
        decoder_vocab_size=len(tokens),
        pad_token_id=pad,
        eos_token_id=0,
        decoder_start_token_id=pad,
        forced_eos_token_id=0,
        **SHAPE,
    )
    _save_weights(folder, lambda: MarianMTModel(config))
    return folder
