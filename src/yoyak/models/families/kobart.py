"""The family `kobart`: encoder-decoders (KoBART, KoT5, mBART-50), all of whose weights are trained."""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from yoyak.config.generation_section import Generation
from yoyak.config.sections import Params, Tokenizer
from yoyak.data.examples import ExampleChooser
from yoyak.data.pair_encoding import encode_dialogues, encode_pairs
from yoyak.data.truncation import EncodedDialogue
from yoyak.models import checkpoints
from yoyak.models.families.base import BatchEncoder, Family, LoadedModel, Row, TrainingSetup
from yoyak.models.student import keep_decoder_layers
from yoyak.models.tokenizer_loading import add_words, load_tokenizer
from yoyak.system import hardware


class KobartFamily(Family):
    name = "kobart"
    unread_params = (
        *("lora.", "prompt.", "model.qlora.", "model.endpoint.", "augment.templates.", "pretrain.method"),
        "generation.consensus.instructions",
    )

    def recognizes(self, folder: Path) -> bool:
        if not (folder / "config.json").is_file() or (folder / "adapter_config.json").is_file():
            return False
        config = checkpoints.load_config(checkpoints.from_pretrained_arguments(str(folder), None))
        return bool(config.is_encoder_decoder)

    def token_limits(self, lengths: Tokenizer, generation: Generation | None) -> dict[str, int]:
        limits = {
            "tokenizer.max_input_length": lengths.max_input_length,
            "tokenizer.max_target_length": lengths.max_target_length,
        }
        return limits | ({"generation.max_new_tokens": generation.max_new_tokens} if generation else {})

    def load_tokenizer(self, params: Params, words: Sequence[str] = ()) -> PreTrainedTokenizerBase:
        chosen = params.model.kobart
        tokenizer = load_tokenizer(chosen.checkpoint, chosen.revision, params.tokenizer.special_tokens)
        add_words(tokenizer, words)
        return tokenizer

    def batch_encoders(
        self,
        tokenizer: PreTrainedTokenizerBase,
        params: Params,
        test_rows: Iterable[Row],
        examples: ExampleChooser | None = None,
    ) -> dict[str, BatchEncoder]:
        encode = partial(encode_pairs, tokenizer=tokenizer, lengths=params.tokenizer)
        return dict.fromkeys(("train", "dev", "test"), encode)

    def encode(self, rows: Sequence[Row], loaded: LoadedModel, params: Params, *, names_topic: bool) -> list[EncodedDialogue]:
        dialogues, lengths = [row["dialogue"] for row in rows], params.tokenizer
        return encode_dialogues(loaded.tokenizer, dialogues, lengths.max_input_length, lengths.truncation)

    def prepare_training(self, params: Params, words: Sequence[str] = ()) -> TrainingSetup:
        from yoyak.data.collation import collate_pairs
        from yoyak.models import encoder_decoder, new_embeddings

        chosen = params.model.kobart
        tokenizer = self.load_tokenizer(params, words)
        model = encoder_decoder.load(chosen.checkpoint, chosen.revision, tokenizer)
        if words:
            pieces = new_embeddings.pieces_of_new_tokens(chosen.checkpoint, chosen.revision, tokenizer)
            new_embeddings.fill_new_rows(model, pieces)
        student = ""
        if chosen.decoder_layers is not None:
            kept = keep_decoder_layers(model, chosen.checkpoint, chosen.decoder_layers)
            student = f", a student with the decoder layers {', '.join(map(str, kept))}"
        parameters = model.num_parameters()
        precision, reason = hardware.choose_precision(params.training.precision, parameters=parameters)
        return TrainingSetup(
            model,
            tokenizer,
            collate=collate_pairs(tokenizer, model),
            precision=precision,
            save=partial(encoder_decoder.save, model, tokenizer),
            description=f"{chosen.checkpoint}: {parameters:,} parameters, {precision} ({reason}){student}",
        )

    def load_untrained(self, params: Params) -> LoadedModel:
        chosen = params.model.kobart
        # No tokens are added. An untrained model would not know them.
        return self._load(chosen.checkpoint, chosen.revision)

    def load_trained(self, folder: Path, params: Params | None = None) -> LoadedModel:
        hardware.enable_tf32()
        checkpoints.verify_checkpoint(str(folder), weights=False)
        return self._load(str(folder), None)

    def _load(self, checkpoint: str, revision: str | None) -> LoadedModel:
        from yoyak.models import encoder_decoder

        tokenizer = load_tokenizer(checkpoint, revision, ())
        model = encoder_decoder.load(checkpoint, revision, tokenizer)
        return LoadedModel(self.name, model.to(hardware.default_device()), tokenizer)


FAMILY = KobartFamily()
