"""The section `generation` of params.yaml."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from yoyak.config.fields import Count, CountOrZero, Float, LogitDivisor, NotNegative, PositiveShare, Section, Seed

BackendName = Literal["auto", "ctranslate2-int8", "ctranslate2", "lean", "endpoint", "transformers", "vllm"]
Script = Literal["latin", "han", "kana", "other"]
Instruction = Annotated[str, Field(pattern=r"\S")]  # not blank

INSTRUCTIONS = (  # of prompts; the first one is the usual one, the others are those of augment.templates
    "다음 대화를 간결하게 요약해주세요.",
    "아래 대화의 핵심 내용을 한두 문장으로 정리해주세요.",
    "다음 대화에서 누가 무엇을 하기로 했는지 짧게 써 주세요.",
    "대화를 읽고 중요한 점만 간추려 주세요.",
    "아래는 여러 사람의 대화입니다. 요점을 요약문으로 작성해주세요.",
)


class Consensus(Section):
    """Several summaries of each dialogue, of which the one is taken that agrees most with the others.

    Minimum Bayes risk decoding: Kumar and Byrne 2004; with samples, Eikema and Aziz 2020 (arXiv:2005.10283).
    """

    candidates: Count = Field(
        description="Summaries that are written for each dialogue, of which one is taken; 1 switches it off. The time grows "
        "with the number."
    )
    source: Literal["samples", "beams", "dropout", "prompts"] = Field(
        description="Where the candidates come from. `samples` are drawn and need `do_sample: true`. `beams` are the best of "
        "one beam search; they need as many `num_beams`. `dropout` writes each with another dropout mask. `prompts` asks for "
        "each with another instruction (qlora, endpoint)."
    )
    instructions: list[Instruction] = Field(
        description="Instructions of `source: prompts`, in turn one for each candidate. An empty list stands for the five of "
        "augment.templates. More candidates than instructions need `do_sample: true` (arXiv:2407.15343)."
    )
    weights: Literal["auto", "uniform", "probability"] = Field(
        description="How much the vote of a candidate counts. `auto` weights beams by the probability of their whole text, and "
        "others equally. `probability` is the softmax of the mean logarithm of a token's probability by the model, each text "
        "once (arXiv:2311.05263); an API and vllm do not give it."
    )
    weights_temperature: LogitDivisor = Field(
        description="Divisor of these means before the softmax (`weights: probability`). Below 1, probable candidates count "
        "more; 1 is the length-normalized MBR of arXiv:2311.05263."
    )
    utility: Literal["rouge", "chrf"] = Field(
        description="Measure of the agreement of two summaries. `rouge` is the mean F1 of ROUGE-1, -2 and -L on morphemes; "
        "`chrf` compares characters (Popović 2015) and needs `pip install 'yoyak[chrf]'`."
    )
    facts: NotNegative = Field(
        description="Points that a summary loses for each name, number or tag that its dialogue does not state. With 0 only "
        "the agreement counts, which is from 0 to 100."
    )

    @classmethod
    def off(cls) -> Self:
        return cls(
            candidates=1,
            source="samples",
            instructions=[],
            weights="auto",
            weights_temperature=1.0,
            utility="rouge",
            facts=0,
        )

    @property
    def is_on(self) -> bool:
        return self.candidates > 1

    @property
    def uses_probability(self) -> bool:
        return self.is_on and self.weights == "probability"

    @property
    def uses_prompts(self) -> bool:
        return self.is_on and self.source == "prompts"

    def why_not(self, *, num_beams: int, do_sample: bool) -> str | None:
        """What is wrong with these candidates, beginning with the key, or None."""
        if not self.is_on:
            return self._why_not_off()
        if self.source == "samples" and not do_sample:
            return "source: samples are all the same without generation.do_sample: true; set it, or choose beams or dropout"
        if self.source == "beams" and do_sample:
            return "source: beams need generation.do_sample: false"
        if self.source == "beams" and num_beams < self.candidates:
            return f"candidates: {self.candidates} are more than generation.num_beams ({num_beams}), of which they are taken"
        return self._why_not_prompts(do_sample=do_sample) if self.source == "prompts" else None

    def _why_not_off(self) -> str | None:
        """One candidate is no consensus, so a setting of one is a mistake."""
        without_effect = {
            f"source: {self.source}": self.source != "samples",
            f"weights: {self.weights}": self.weights != "auto",
        }
        names = [name for name, holds in without_effect.items() if holds]
        if not names:
            return None
        return (
            f"candidates: 1 switches the consensus off, so {' and '.join(names)} would have no effect; set candidates to 2 or "
            "more, or set source: samples and weights: auto"
        )

    def _why_not_prompts(self, *, do_sample: bool) -> str | None:
        count = len(self.instructions or INSTRUCTIONS)
        if len(set(self.instructions)) < len(self.instructions):
            return "instructions: one stands there twice; write each one once"
        if self.instructions and self.candidates < count:
            return (
                f"candidates: {self.candidates} leave out the last of {count} instructions; set {count}, or remove instructions"
            )
        if self.candidates > count and not do_sample:
            return (
                f"candidates: {self.candidates} are more than the {count} instructions; without generation.do_sample: true an "
                "instruction gives the same summary each time"
            )
        return None

    def why_not_by(self, writer: str) -> str | None:
        """Why a family, a backend or a method of an ensemble cannot give these candidates, beginning with the key, or None."""
        if not self.is_on:
            return None
        if writer in ("kobart", "average_probabilities") and self.source == "prompts":
            return "source: prompts: an encoder-decoder has no prompts; choose samples, beams or dropout"
        if writer == "endpoint" and self.source not in ("samples", "prompts"):
            return f"source: an API gives no {self.source}; set it to samples or prompts"
        if writer in ("endpoint", "vllm", "average_probabilities") and self.weights == "probability":
            return f"weights: probability: {writer} gives no probability of a text; set auto or uniform"
        return None

    def instruction_of(self, number: int) -> str | None:
        """The instruction of a candidate, counted from 0; None for the usual question of prompt.style."""
        if self.instructions:
            return self.instructions[number % len(self.instructions)]
        place = number % len(INSTRUCTIONS)
        return INSTRUCTIONS[place] if place else None


class Generation(Section):
    """Decoding, with the names and meanings of transformers' GenerationConfig.

    `blocked_scripts`, `seed` and all keys after it are additions of yoyak.
    """

    max_new_tokens: Count = Field(description="Longest summary, in tokens.")
    min_new_tokens: CountOrZero = Field(description="Shortest summary, in tokens. It must not exceed `max_new_tokens`.")
    num_beams: Count = Field(description="Number of beams of beam search; 1 is greedy decoding.")
    do_sample: bool = Field(description="Draw tokens at random instead of taking the most probable ones.")
    temperature: LogitDivisor = Field(
        description="Divisor of the logits when sampling. Below 1, probable tokens become more probable."
    )
    top_p: PositiveShare = Field(
        description="Sample only from the most probable tokens with this total probability; 1 keeps all."
    )
    top_k: CountOrZero = Field(
        description="Sample only from this number of most probable tokens; 0 keeps all. 50 is transformers' default."
    )
    repetition_penalty: LogitDivisor = Field(
        description="Divisor of the logits of tokens that already occurred; 1 switches it off. For `qlora` the tokens of the "
        "prompt count too."
    )
    length_penalty: Float = Field(
        description="Exponent of the length in a beam's score; a higher value favors longer summaries. It works with two or "
        "more beams."
    )
    no_repeat_ngram_size: CountOrZero = Field(
        description="Size of token sequences that must not occur twice; 0 switches it off. For `qlora` the prompt counts too: "
        "3 forbids three tokens in a row from the dialogue."
    )
    early_stopping: Literal[True, False, "never"] = Field(
        description="When beam search ends. `true` ends it as soon as `num_beams` summaries are finished; `false` estimates "
        "whether a better one is still possible; `never` goes on until none is possible."
    )
    blocked_scripts: list[Script] = Field(
        description="Scripts whose letters are never written. Tags and words from the dialogue are excepted. `other` is every "
        "script but these three and Hangul."
    )
    seed: Seed = Field(description="Seed for do_sample.")
    batch_size: Count = Field(
        description="Dialogues that are summarized at the same time. It changes speed and memory, and the summaries only by "
        "rounding."
    )
    backend: BackendName = Field(
        description="Library that writes the summaries. `auto` chooses CTranslate2 on a CPU, in int8 unless the dev score "
        "falls; for BART and mBART with settings that CTranslate2 does not support `lean`, our own loop, which writes what "
        "transformers writes; and transformers on a GPU and for everything else. `vllm` is used only if it is named: it is for "
        "decoder-only models, and must be installed."
    )
    postprocess: Literal["never", "auto", "always"] = Field(
        description="Repair the ends of summaries that were cut off. `auto` does it if that raises the dev score."
    )
    long_dialogues: Literal["truncate", "windows"] = Field(
        description="What happens to a dialogue that is longer than tokenizer.max_input_length. `truncate` leaves out turns "
        "(`tokenizer.truncation`). `windows` reads it whole: it writes a summary of each part, and from these one summary. "
        "Training always truncates."
    )
    window_overlap: CountOrZero = Field(
        description="Turns that two neighbouring windows share. They tell the second one what is spoken about. Only "
        "`long_dialogues: windows` reads it."
    )
    window_merge: Literal["turns", "summaries", "join"] = Field(
        description="How the summaries of windows become one. `turns` summarizes the turns that they speak of, as many as fit. "
        "`summaries` summarizes the summaries, written as a dialogue. `join` puts them one after another. Only "
        "`long_dialogues: windows` reads it."
    )
    consensus: Consensus
    restore_speakers: bool = Field(
        description="Write the original names of the speakers into submission.csv. They take the place of #Person1#. It needs "
        "data that `yoyak import` made. dev.csv and test.csv keep the tags."
    )

    @classmethod
    def plain(cls, *, max_new_tokens: int, num_beams: int, seed: int = 0, batch_size: int = 32) -> Self:
        """Plain beam search, for where the section of params.yaml must not have an effect, or is not known."""
        return cls(
            max_new_tokens=max_new_tokens,
            min_new_tokens=0,
            num_beams=num_beams,
            do_sample=False,
            temperature=1.0,
            top_p=1.0,
            top_k=0,
            repetition_penalty=1.0,
            length_penalty=1.0,
            no_repeat_ngram_size=0,
            early_stopping=True,
            blocked_scripts=[],
            seed=seed,
            batch_size=batch_size,
            backend="auto",
            postprocess="never",
            long_dialogues="truncate",
            window_overlap=2,
            window_merge="turns",
            consensus=Consensus.off(),
            restore_speakers=False,
        )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min_new_tokens > self.max_new_tokens:
            raise ValueError(
                f"min_new_tokens: {self.min_new_tokens} is more than generation.max_new_tokens ({self.max_new_tokens})"
            )
        if problem := self.consensus.why_not(num_beams=self.num_beams, do_sample=self.do_sample):
            raise ValueError(f"consensus.{problem}")
        return self
