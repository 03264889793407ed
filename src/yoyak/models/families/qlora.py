"""The family `qlora`: decoder-only models (Llama, Qwen, SOLAR, GPT-NeoX), quantized, with a trained LoRA adapter."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from yoyak.config.generation_section import Generation
from yoyak.config.sections import Params, Tokenizer
from yoyak.data import prompts
from yoyak.data.chat_encoding import encode_chats
from yoyak.data.examples import ExampleChooser
from yoyak.data.truncation import EncodedDialogue
from yoyak.models import checkpoints
from yoyak.models.families.base import BatchEncoder, Family, LoadedModel, Row, TrainingSetup
from yoyak.models.tokenizer_loading import add_words, load_tokenizer
from yoyak.system import hardware


class QloraFamily(Family):
    name = "qlora"
    trains_adapter = True
    unread_params = (
        *("model.kobart.", "model.endpoint.", "prompt.mask", "pretrain.mask_ratio", "pretrain.poisson_lambda"),
        *("pretrain.permute_turns", "pretrain.mask_speakers"),
    )

    def recognizes(self, folder: Path) -> bool:
        if (folder / "adapter_config.json").is_file():
            return True
        if not (folder / "config.json").is_file():
            return False
        config = checkpoints.load_config(checkpoints.from_pretrained_arguments(str(folder), None))
        return not config.is_encoder_decoder

    def token_limits(self, lengths: Tokenizer, generation: Generation | None) -> dict[str, int]:
        """A decoder-only model reads and writes in one row, so both lengths share its positions."""
        prompt = lengths.max_input_length
        limits = {"tokenizer.max_input_length + max_target_length": prompt + lengths.max_target_length}
        if generation:
            limits["tokenizer.max_input_length + generation.max_new_tokens"] = prompt + generation.max_new_tokens
        return limits

    def load_tokenizer(self, params: Params, words: Sequence[str] = ()) -> PreTrainedTokenizerBase:
        chosen = params.model.qlora
        tokenizer = load_tokenizer(chosen.checkpoint, chosen.revision, params.tokenizer.special_tokens, pad_with_eos=True)
        add_words(tokenizer, words)
        return tokenizer

    def batch_encoders(
        self,
        tokenizer: PreTrainedTokenizerBase,
        params: Params,
        test_rows: Iterable[Row],
        examples: ExampleChooser | None = None,
    ) -> dict[str, BatchEncoder]:
        names_topic = prompts.uses_topic(params.prompt, test_rows)
        builder = self._prompt_builder(tokenizer, params, examples, names_topic=names_topic)
        encode = partial(encode_chats, prompt_builder=builder, max_target_length=params.tokenizer.max_target_length)
        return dict.fromkeys(("train", "dev", "test"), encode)

    def encode(self, rows: Sequence[Row], loaded: LoadedModel, params: Params, *, names_topic: bool) -> list[EncodedDialogue]:
        return self.encode_asking(None, rows, loaded, params, names_topic=names_topic)

    def encode_asking(
        self, instruction: str | None, rows: Sequence[Row], loaded: LoadedModel, params: Params, *, names_topic: bool
    ) -> list[EncodedDialogue]:
        builder = self._prompt_builder(loaded.tokenizer, params, loaded.examples, names_topic=names_topic)
        return builder.encode(rows, instructions=[instruction] * len(rows))

    def _prompt_builder(
        self, tokenizer: PreTrainedTokenizerBase, params: Params, examples: ExampleChooser | None, *, names_topic: bool
    ) -> prompts.PromptBuilder:
        length, truncation = params.tokenizer.max_input_length, params.tokenizer.truncation
        return prompts.PromptBuilder(tokenizer, params.prompt, length, names_topic, truncation, examples)

    def prepare_training(self, params: Params, words: Sequence[str] = ()) -> TrainingSetup:
        from yoyak.data.collation import collate_chats
        from yoyak.models import adapters, causal_lm, lora

        chosen = params.model.qlora
        tokenizer = self.load_tokenizer(params, words)
        precision, reason = hardware.choose_precision(params.training.precision, parameters=0, quantized=True)
        attention, attention_reason = hardware.choose_attention(chosen.attention, precision=precision)
        base, new_tokens = causal_lm.load(chosen, tokenizer, precision=precision)
        model = lora.add_lora(base, params.lora, new_tokens=new_tokens, settings=chosen)
        uses_flash = attention == "flash_attention_2"
        padding_free = chosen.padding_free == "always" or (chosen.padding_free == "auto" and uses_flash)
        return TrainingSetup(
            model,
            tokenizer,
            collate=collate_chats(tokenizer.pad_token_id, padding_free=padding_free),
            precision=precision,
            save=partial(adapters.save, model, tokenizer, settings=chosen, precision=precision),
            description=(
                f"{chosen.checkpoint}: {chosen.quantization}, {precision} ({reason}), {attention} ({attention_reason})\n"
                + lora.describe(model)
            ),
        )

    def prepare_pretraining(self, params: Params, words: Sequence[str] = ()) -> TrainingSetup:
        from yoyak.data.collation import collate_chats
        from yoyak.models import adapters, causal_lm

        chosen = params.model.qlora
        if params.pretrain.method == "lora":
            setup = self.prepare_training(params, words)
            save = partial(adapters.save_merged, setup.model, setup.tokenizer, settings=chosen, precision=setup.precision)
            return replace(setup, save=save)
        tokenizer = self.load_tokenizer(params, words)
        # The optimizer changes weights in 32 bits, also where the products are in 16 bits.
        whole = chosen.model_copy(update={"quantization": "none"})
        model, _ = causal_lm.load(whole, tokenizer, precision="float32")
        parameters = model.num_parameters()
        precision, reason = hardware.choose_precision(params.training.precision, parameters=parameters)
        return TrainingSetup(
            model,
            tokenizer,
            collate=collate_chats(tokenizer.pad_token_id, padding_free=chosen.padding_free == "always"),
            precision=precision,
            save=partial(causal_lm.save, model, tokenizer),
            description=f"{chosen.checkpoint}: {parameters:,} parameters, all trained, {precision} ({reason})",
        )

    def base_model_bytes(self, params: Params) -> int:
        from yoyak.models import memory_estimate

        return memory_estimate.base_model_bytes(params)

    def load_untrained(self, params: Params) -> LoadedModel:
        from yoyak.models import causal_lm

        chosen = params.model.qlora
        # No tokens are added. An untrained model would not know them.
        tokenizer = load_tokenizer(chosen.checkpoint, chosen.revision, (), pad_with_eos=True)
        precision, _ = hardware.choose_precision("auto", parameters=0, quantized=True)
        model, _ = causal_lm.load(chosen, tokenizer, precision=precision)
        return LoadedModel(self.name, model, tokenizer)

    def load_trained(self, folder: Path, params: Params | None = None) -> LoadedModel:
        hardware.enable_tf32()
        checkpoints.verify_checkpoint(str(folder), weights=False)
        if (folder / "adapter_config.json").is_file():
            from yoyak.models import adapters

            model, tokenizer = adapters.load(folder, expected_base=params.model.qlora if params else None)
            return LoadedModel(self.name, model, tokenizer)
        from yoyak.models import causal_lm

        tokenizer = load_tokenizer(str(folder), None, ())
        return LoadedModel(self.name, causal_lm.load_merged(str(folder), tokenizer), tokenizer)


FAMILY = QloraFamily()
