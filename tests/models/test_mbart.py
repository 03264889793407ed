"""mBART: the language token has the place that it had in pre-training."""

from pathlib import Path

import pytest

from yoyak.data import pair_encoding
from yoyak.models import tokenizer_loading


@pytest.mark.slow
def test_mbart_50_writes_korean(tmp_path: Path) -> None:
    from transformers import MBart50Tokenizer, MBartConfig, MBartForConditionalGeneration

    from yoyak.config.params import load_params
    from yoyak.inference.backends.transformers import generation_config
    from yoyak.models import encoder_decoder

    pieces = ["▁", "▁안녕", "하세요", "네", "▁저는", "학생", *"#Person12:입니다."]
    special = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    MBart50Tokenizer(vocab=special + [(piece, -1.0) for piece in dict.fromkeys(pieces)]).save_pretrained(tmp_path)
    config = MBartConfig(
        vocab_size=100,
        d_model=8,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=8,
        decoder_ffn_dim=8,
        max_position_embeddings=32,
        decoder_start_token_id=2,
    )
    MBartForConditionalGeneration(config).save_pretrained(tmp_path)

    tokenizer = tokenizer_loading.load_tokenizer(str(tmp_path), None, ["#Person1#"])
    model = encoder_decoder.load(str(tmp_path), None, tokenizer)
    korean = tokenizer.convert_tokens_to_ids("ko_KR")
    (labels,) = pair_encoding.encode_targets(tokenizer, ["#Person1# 안녕하세요"], 4)
    assert labels[0] == korean and labels[-1] == tokenizer.eos_token_id and len(labels) == 4
    settings = load_params(Path(__file__).parents[2] / "params.yaml").generation
    assert generation_config(settings, tokenizer, model).forced_bos_token_id == korean
    assert generation_config(settings, tokenizer, model).decoder_start_token_id == tokenizer.eos_token_id


def test_the_first_mbart_is_refused_because_its_texts_end_with_the_language(tmp_path: Path) -> None:
    from transformers import MBartConfig, MBartTokenizer

    from yoyak.system.errors import YoyakError

    special = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    MBartTokenizer(vocab=special + [(f"▁{number}", -1.0) for number in range(50)]).save_pretrained(tmp_path)
    MBartConfig().save_pretrained(tmp_path)
    with pytest.raises(YoyakError, match=r"its texts do not end with </s>; use an mBART-50 checkpoint"):
        tokenizer_loading.load_tokenizer(str(tmp_path), None, ())
