"""Pre-train the small checkpoints of models/base on the text of data/sample's train split.

    make base                                        # builds tokenizers and weights of both, in about half an hour
    python models/build_base.py --only llama-tiny    # builds one of them
    python models/build_base.py --out DIR --steps 5  # a short run into another folder, as the tests do

kobart-tiny is a BART. It learns text infilling (Lewis et al. 2020, arXiv:1910.13461, section 2.2): each of some spans of a
dialogue or a summary is replaced by one <mask>, and the model writes the whole text.

llama-tiny is a Llama with a chat template. It learns the next token of chats in which the assistant repeats one to three
lines of the user's text. Without such examples, a decoder-only model of this size learns to copy last.

No training example pairs a dialogue with its summary, so the checkpoints cannot summarize yet. The pipeline teaches that.
The same seed gives the same bytes on one machine.
"""

import argparse
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from tqdm import tqdm
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "src"))

from yoyak.config.generation_section import INSTRUCTIONS  # noqa: E402
from yoyak.data.cleaning import clean_row  # noqa: E402
from yoyak.data.denoising import infill  # noqa: E402
from yoyak.data.dialogue import LISTED_TAGS  # noqa: E402
from yoyak.system.checksums import write_checksums  # noqa: E402
from yoyak.system.csv_files import read_csv  # noqa: E402

SEED = 20261120
VOCABULARY = 4000
BART_SPECIAL = {"bos": "<s>", "eos": "</s>", "pad": "<pad>", "unk": "<unk>", "mask": "<mask>"}
CHAT_SPECIAL = {"bos": "<|begin|>", "eos": "<|end|>", "pad": "<|pad|>", "unk": "<|unknown|>"}
ROLES = ["<|system|>", "<|user|>", "<|assistant|>"]
CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}{{ '<|' + message.role + '|>' + message.content | trim + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
PROMPT_TEXTS = [*INSTRUCTIONS, "[Conversation]\n", "\n\n[Question]\n위 대화 주제에 대한 대화를 요약해주세요."]
TOKENS_PER_BATCH = 2000
# Share of the encoder's tokens that are masked, as in the paper. Span lengths are exponential, with a mean near the paper's 3.
MASKED_SHARE = 0.3
# Share of the decoder's inputs that are masked, so that the decoder must use the encoder (word dropout, arXiv:1511.06349).
HIDDEN_INPUT_SHARE = 0.3
STEPS = {"kobart-tiny": 2400, "llama-tiny": 1500}
# At 2e-3 the encoder of kobart-tiny collapsed: its output was the same at every position, although the loss still fell.
LEARNING_RATE = {"kobart-tiny": 1e-3, "llama-tiny": 2e-3}
WARMUP_STEPS = 150
MIN_SOURCE_GAIN = 0.5  # nats per token; below it, the model ignores its source


def read_texts(path: Path) -> tuple[list[str], list[str]]:
    """Return the cleaned dialogues and summaries of a CSV file."""
    dialogues, summaries = [], []
    for _, cells in read_csv(path, required=["fname", "dialogue", "summary"]):
        row, _ = clean_row(cells, noise="moderate", person_tags="keep_original", with_summary=True)
        dialogues.append(row["dialogue"])
        summaries.append(row["summary"])
    return dialogues, summaries


def train_tokenizer(corpus: list[str], special: dict[str, str], role_tokens: list[str]) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE, so that no text has unknown tokens. Like KoBART's, it adds neither a start nor an end token."""
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[*special.values(), *role_tokens],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.add_tokens([AddedToken(tag, normalized=False) for tag in LISTED_TAGS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        clean_up_tokenization_spaces=False,
        **{f"{name}_token": token for name, token in special.items()},
    )


def bart_config(tokenizer: PreTrainedTokenizerFast) -> BartConfig:
    return BartConfig(
        vocab_size=len(tokenizer),
        d_model=192,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=768,
        decoder_ffn_dim=768,
        max_position_embeddings=1024,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        decoder_start_token_id=tokenizer.eos_token_id,
        forced_eos_token_id=tokenizer.eos_token_id,
        dropout=0.1,
    )


def llama_config(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=640,
        max_position_embeddings=2048,
        rope_theta=10000.0,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def batches(documents: list[list[int]], rng: random.Random) -> Iterator[list[list[int]]]:
    """Yield batches without end, in random order. A batch has documents of similar length, about TOKENS_PER_BATCH tokens."""
    while True:
        order = sorted(range(len(documents)), key=lambda i: (len(documents[i]) // 8, rng.random()))
        groups: list[list[int]] = [[]]
        for i in order:
            if (len(groups[-1]) + 1) * len(documents[i]) > TOKENS_PER_BATCH:
                groups.append([])
            groups[-1].append(i)
        rng.shuffle(groups)
        for group in groups:
            yield [documents[i] for i in group]


def pad(rows: list[list[int]], value: int) -> torch.Tensor:
    """Return a tensor (rows, longest row) of the ids, padded on the right with `value`."""
    longest = max(map(len, rows))
    return torch.tensor([row + [value] * (longest - len(row)) for row in rows])


def hide_decoder_inputs(ids: torch.Tensor, *, mask: int, pad_id: int) -> torch.Tensor:
    """Replace HIDDEN_INPUT_SHARE of the decoder inputs (rows, length) by `mask`, except the first token and padding."""
    hidden = (torch.rand(ids.shape) < HIDDEN_INPUT_SHARE) & (ids != pad_id)
    hidden[:, 0] = False
    return ids.masked_fill(hidden, mask)


def infilling_batch(batch: list[list[int]], tokenizer: PreTrainedTokenizerFast, rng: random.Random) -> dict[str, torch.Tensor]:
    """Return the arguments of an encoder-decoder: the encoder reads masked texts, the labels are the whole texts."""
    mask, pad_id, eos = tokenizer.mask_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id
    sources = [
        infill(ids, mask=mask, ratio=MASKED_SHARE, span_length=lambda: 1 + int(rng.expovariate(1 / 2.5)), rng=rng)
        for ids in batch
    ]
    inputs = pad([[*ids, eos] for ids in sources], pad_id)
    labels = pad([[*ids, eos] for ids in batch], -100)
    decoder_inputs = torch.full_like(labels, eos)
    decoder_inputs[:, 1:] = labels[:, :-1]
    decoder_inputs = decoder_inputs.masked_fill(decoder_inputs == -100, pad_id)
    return {
        "input_ids": inputs,
        "attention_mask": inputs != pad_id,
        "decoder_input_ids": hide_decoder_inputs(decoder_inputs, mask=mask, pad_id=pad_id),
        "labels": labels,
    }


def with_other_sources(inputs: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Return the batch unchanged, and a copy in which each row has the encoder inputs of another row."""
    return inputs, inputs | {key: inputs[key].roll(1, 0) for key in ("input_ids", "attention_mask")}


def echo_batch(batch: list[list[int]], tokenizer: PreTrainedTokenizerFast, rng: random.Random) -> dict[str, torch.Tensor]:
    """Return the arguments of a decoder-only model: the user says a text, the assistant repeats one to three of its lines.

    `starts` has the position of the answer in each row. It is not an argument of the model.
    """
    user, assistant = tokenizer.convert_tokens_to_ids(["<|user|>", "<|assistant|>"])
    (newline,) = tokenizer("\n").input_ids
    rows, starts = [], []
    for ids in batch:
        ends = [index for index, token in enumerate(ids) if token == newline]
        first = rng.randrange(len(ends) + 1)
        bounds = [0, *(end + 1 for end in ends), len(ids) + 1]
        echo = ids[bounds[first] : bounds[min(first + rng.randint(1, 3), len(ends) + 1)] - 1]
        prompt = [tokenizer.bos_token_id, user, *ids, tokenizer.eos_token_id, assistant]
        rows.append([*prompt, *echo, tokenizer.eos_token_id])
        starts.append(len(prompt))
    labels = pad(rows, -100)
    return {
        "input_ids": pad(rows, tokenizer.pad_token_id),
        "attention_mask": labels != -100,
        "labels": labels,
        "starts": torch.tensor(starts),
    }


def with_other_users(inputs: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Return the batch with labels for the answers only, and a copy in which each row has the user text of another row."""
    answers, ids = inputs["labels"].clone(), inputs["input_ids"].clone()
    for row, start in enumerate(inputs["starts"].tolist()):
        answers[row, :start] = -100
        ids[row, 2 : start - 2] = inputs["input_ids"].roll(1, 0)[row, 2 : start - 2]
    return inputs | {"labels": answers}, inputs | {"labels": answers, "input_ids": ids}


def pretrain(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    phases: list[list[list[int]]],
    *,
    steps: int,
    learning_rate: float,
    make_batch: Callable[[list[list[int]], PreTrainedTokenizerFast, random.Random], dict[str, torch.Tensor]],
    with_other: Callable[[dict[str, torch.Tensor]], tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]],
) -> float:
    """Train a model in place, by AdamW with warm-up and linear decay.

    Args:
        model: the model.
        tokenizer: its tokenizer.
        phases: the token ids of the texts of each phase. Each phase gets an equal share of the steps.
        steps: the number of steps of all phases.
        learning_rate: the peak.
        make_batch: makes the arguments of the model from texts.
        with_other: makes the two batches that `source_gain` compares.

    Returns:
        The gain from the source (`source_gain`), the mean of eight batches. Near 0, the model ignores its source and has
        only learned frequent phrases.
    """
    rng = random.Random(SEED)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / WARMUP_STEPS, max(0.02, 1 - step / steps))
    )
    model.train()
    bar = tqdm(range(steps), desc=model.config.model_type, mininterval=5)
    streams = [batches(documents, rng) for documents in phases]
    for step in bar:
        inputs = make_batch(next(streams[step * len(phases) // steps]), tokenizer, rng)
        loss = model(**{key: value for key, value in inputs.items() if key != "starts"}).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
        if step % 100 == 99:
            bar.write(
                f"step {step + 1}: loss {loss.item():.3f}, gain from the source {source_gain(model, *with_other(inputs)):.3f}"
            )
    gains = [source_gain(model, *with_other(make_batch(next(streams[-1]), tokenizer, rng))) for _ in range(8)]
    return sum(gains) / len(gains)


@torch.no_grad()
def source_gain(model: PreTrainedModel, own: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """Return the loss with another row's source minus the loss with the own source, in nats per token."""
    model.eval()
    losses = [model(**{key: value for key, value in inputs.items() if key != "starts"}).loss.item() for inputs in (other, own)]
    model.train()
    return float(losses[0] - losses[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "base", help="folder for the checkpoints")
    parser.add_argument("--train", type=Path, default=HERE.parent / "data/sample/train.csv", help="CSV file with the texts")
    parser.add_argument("--steps", type=int, help="number of steps, instead of the full number")
    parser.add_argument("--only", choices=list(STEPS), help="build only this checkpoint")
    args = parser.parse_args()

    dialogues, summaries = read_texts(args.train)
    turns = [turn for text in dialogues for turn in text.split("\n")]
    for name in [args.only] if args.only else STEPS:
        torch.manual_seed(SEED)
        bart = name == "kobart-tiny"
        if bart:
            tokenizer = train_tokenizer(dialogues + summaries, BART_SPECIAL, [])
        else:  # the texts of the prompts are part of the corpus, so that a prompt takes few tokens
            tokenizer = train_tokenizer([*dialogues, *summaries, *PROMPT_TEXTS * 1000], CHAT_SPECIAL, ROLES)
        # The first phase has turns and summaries, so that the model learns to copy short texts before whole dialogues.
        phases = [
            [ids for ids in tokenizer(texts).input_ids if len(ids) > 3] for texts in (turns + summaries, dialogues + summaries)
        ]
        model: PreTrainedModel
        if bart:
            model = BartForConditionalGeneration(bart_config(tokenizer))
        else:
            model = LlamaForCausalLM(llama_config(tokenizer))
            tokenizer.chat_template = CHAT_TEMPLATE
        print(f"{name}: {sum(map(len, phases[1])):,} tokens; {model.num_parameters():,} parameters")
        gain = pretrain(
            model,
            tokenizer,
            phases,
            steps=args.steps or STEPS[name],
            learning_rate=LEARNING_RATE[name],
            make_batch=infilling_batch if bart else echo_batch,
            with_other=with_other_sources if bart else with_other_users,
        )
        if not args.steps and gain < MIN_SOURCE_GAIN:
            raise SystemExit(
                f"{name}: the gain from the source is only {gain:.3f} nats per token, so the model ignores its source. "
                "Nothing was saved. Try a lower learning rate"
            )
        folder = args.out / name
        model.half().save_pretrained(folder)  # saved as float16 to keep the files small; training loads them as float32
        tokenizer.save_pretrained(folder)
        write_checksums(folder)


if __name__ == "__main__":
    main()
