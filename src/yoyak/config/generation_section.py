"""The section `generation` of params.yaml."""

from typing import Literal, Self

from pydantic import Field, model_validator

from yoyak.config.fields import Count, CountOrZero, Float, LogitDivisor, NotNegative, PositiveShare, Section, Seed

BackendName = Literal["auto", "ctranslate2-int8", "ctranslate2", "lean", "endpoint", "transformers", "vllm"]
Script = Literal["latin", "han", "kana", "other"]


class Consensus(Section):
    """Several summaries of each dialogue, of which the one is taken that agrees most with the others.

    Minimum Bayes risk decoding: Kumar and Byrne 2004; with samples, Eikema and Aziz 2020 (arXiv:2005.10283).
    """

    candidates: Count = Field(
        description="Summaries that are written for each dialogue, of which one is taken; 1 switches it off. The time grows "
        "with the number."
    )
    source: Literal["samples", "beams", "dropout"] = Field(
        description="Where the candidates come from. `samples` are drawn and need `do_sample: true`. `beams` are the best of "
        "one beam search, weighted by their probability; they need as many `num_beams`. `dropout` writes each with another "
        "dropout mask."
    )
    utility: Literal["rouge", "chrf"] = Field(
        description="Measure of the agreement of two summaries. `rouge` is the mean F1 of ROUGE-1, -2 and -L on morphemes; "
        "`chrf` compares characters (Popović 2015) and needs `pip install 'yoyak[chrf]'`."
    )
    facts: NotNegative = Field(
        description="Points that a summary loses for each name, number or tag that its dialogue does not state. With 0 only "
        "the agreement counts, which is from 0 to 100."
    )

    def why_not(self, *, num_beams: int, do_sample: bool) -> str | None:
        """What is wrong with these candidates, beginning with the key, or None."""
        if self.candidates == 1:
            return None
        if self.source == "samples" and not do_sample:
            return "source: samples are all the same without generation.do_sample: true; set it, or choose beams or dropout"
        if self.source == "beams" and do_sample:
            return "source: beams need generation.do_sample: false"
        if self.source == "beams" and num_beams < self.candidates:
            return f"candidates: {self.candidates} are more than generation.num_beams ({num_beams}), of which they are taken"
        return None


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
            consensus=Consensus(candidates=1, source="samples", utility="rouge", facts=0),
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
