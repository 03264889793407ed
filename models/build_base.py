"""Pre-train the small checkpoints of models/base on the text of data/sample's train split.

    make base                                        # tokenizers and weights of both again, in about half an hour
    python models/build_base.py --only llama-tiny    # one of them
    python models/build_base.py --out DIR --steps 5  # a short run somewhere else, as the tests do

kobart-tiny is a BART. It learns text infilling (Lewis et al. 2020, arXiv:1910.13461, section 2.2): spans of a dialogue or
of a summary are each replaced by one <mask>, and the model writes the whole text.

llama-tiny is a Llama with a chat template. It learns the next token of chats in which the assistant repeats the user's
text, or some turns of the user's dialogue: copying is what a decoder-only model of this size learns last by itself.

A dialogue never stands beside its summary here, so summarization is left to be taught by the pipeline. The same seed gives
the same bytes on one machine.
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

from yoyak.data.cleaning import clean_row  # noqa: E402
from yoyak.data.dialogue import LISTED_TAGS  # noqa: E402
from yoyak.data.prompts import INSTRUCTIONS  # noqa: E402
from yoyak.system.checksums import write_checksums  # noqa: E402
from yoyak.system.text_files import read_csv  # noqa: E402

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
QUESTIONS = [*INSTRUCTIONS, "[Conversation]\n", "\n\n[Question]\n위 대화 주제에 대한 대화를 요약해주세요."]
TOKENS_A_BATCH = 2000
MASKED_SHARE = 0.3  # of the tokens, in spans of Poisson(3) length, as in the paper
UNSEEN_SHARE = 0.3  # of the decoder's inputs, hidden so that it must look at the encoder (word dropout, arXiv:1511.06349)
STEPS = {"kobart-tiny": 2400, "llama-tiny": 1500}
# At 2e-3 kobart-tiny's encoder died: every position came out the same, and the loss fell all the same.
LEARNING_RATE = {"kobart-tiny": 1e-3, "llama-tiny": 2e-3}
WARMUP = 150  # steps


def texts(path: Path) -> tuple[list[str], list[str]]:
    """The cleaned dialogues and the summaries of a CSV."""
    dialogues, summaries = [], []
    for _, cells in read_csv(path, required=["fname", "dialogue", "summary"]):
        row, _ = clean_row(cells, noise="moderate", person_tags="keep_original", with_summary=True)
        dialogues.append(row["dialogue"])
        summaries.append(row["summary"])
    return dialogues, summaries


def train_tokenizer(corpus: list[str], special: dict[str, str], more: list[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE, so that no text has unknown tokens. Adds neither start nor end, as KoBART's does not."""
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[*special.values(), *more],
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


def infill(ids: list[int], *, mask: int, rng: random.Random) -> list[int]:
    """`ids` with spans replaced by one `mask` each, until about MASKED_SHARE of them are hidden."""
    hidden = [False] * len(ids)
    budget = round(len(ids) * MASKED_SHARE)
    while budget > 0:
        length = min(1 + int(rng.expovariate(1 / 2.5)), budget)
        start = rng.randrange(max(1, len(ids) - length))
        hidden[start : start + length] = [True] * len(hidden[start : start + length])
        budget -= length
    out = []
    for at, token in enumerate(ids):
        if not hidden[at]:
            out.append(token)
        elif at == 0 or not hidden[at - 1]:
            out.append(mask)
    return out


def batches(documents: list[list[int]], rng: random.Random) -> Iterator[list[list[int]]]:
    """Endless batches of documents of like length, about TOKENS_A_BATCH each, in a random order."""
    while True:
        order = sorted(range(len(documents)), key=lambda i: (len(documents[i]) // 8, rng.random()))
        groups: list[list[int]] = [[]]
        for i in order:
            if (len(groups[-1]) + 1) * len(documents[i]) > TOKENS_A_BATCH:
                groups.append([])
            groups[-1].append(i)
        rng.shuffle(groups)
        for group in groups:
            yield [documents[i] for i in group]


def pad(rows: list[list[int]], value: int) -> torch.Tensor:
    """(rows, longest) from lists of ids."""
    longest = max(map(len, rows))
    return torch.tensor([row + [value] * (longest - len(row)) for row in rows])


def corrupt(ids: torch.Tensor, mask: int, kept: int) -> torch.Tensor:
    """Decoder inputs with UNSEEN_SHARE of the tokens behind the first replaced by `mask` (but never `kept`, the padding)."""
    unseen = (torch.rand(ids.shape) < UNSEEN_SHARE) & (ids != kept)
    unseen[:, 0] = False
    return ids.masked_fill(unseen, mask)


def infilling(batch: list[list[int]], tokenizer: PreTrainedTokenizerFast, rng: random.Random) -> dict[str, torch.Tensor]:
    """What the encoder-decoder is called with: infilled texts in, whole texts out."""
    mask, pad_id, eos = tokenizer.mask_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id
    inputs = pad([[*infill(ids, mask=mask, rng=rng), eos] for ids in batch], pad_id)
    labels = pad([[*ids, eos] for ids in batch], -100)
    before = torch.full_like(labels, eos)
    before[:, 1:] = labels[:, :-1]
    before = before.masked_fill(before == -100, pad_id)
    return {
        "input_ids": inputs,
        "attention_mask": inputs != pad_id,
        "decoder_input_ids": corrupt(before, mask, pad_id),
        "labels": labels,
    }


def beside_another_encoder(inputs: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The batch as it is, and with each text beside the next one's encoder inputs."""
    return inputs, inputs | {key: inputs[key].roll(1, 0) for key in ("input_ids", "attention_mask")}


def chats(batch: list[list[int]], tokenizer: PreTrainedTokenizerFast, rng: random.Random) -> dict[str, torch.Tensor]:
    """What the decoder-only model is called with: the user says a text, the assistant repeats one to three of its turns."""
    user, assistant = tokenizer.convert_tokens_to_ids(["<|user|>", "<|assistant|>"])
    (newline,) = tokenizer("\n").input_ids
    rows, starts = [], []
    for ids in batch:
        ends = [at for at, token in enumerate(ids) if token == newline]
        first = rng.randrange(len(ends) + 1)
        bounds = [0, *(end + 1 for end in ends), len(ids) + 1]
        echo = ids[bounds[first] : bounds[min(first + rng.randint(1, 3), len(ends) + 1)] - 1]
        said = [tokenizer.bos_token_id, user, *ids, tokenizer.eos_token_id, assistant]
        rows.append([*said, *echo, tokenizer.eos_token_id])
        starts.append(len(said))
    labels = pad(rows, -100)
    return {
        "input_ids": pad(rows, tokenizer.pad_token_id),
        "attention_mask": labels != -100,
        "labels": labels,
        "starts": torch.tensor(starts),
    }


def behind_another_user(inputs: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The batch with labels for the answers alone, as it is and with the words of another row's user."""
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
    tensors: Callable[[list[list[int]], PreTrainedTokenizerFast, random.Random], dict[str, torch.Tensor]],
    moved: Callable[[dict[str, torch.Tensor]], tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]],
) -> float:
    """Train by AdamW with warm-up and linear decay, in place; each phase has its texts and an equal part of the steps.

    Returns what the source is worth: how much the loss rises when each text stands beside another one's source, in nats a
    token. Near 0 the model has become one of the sample's phrases that looks at nothing.
    """
    rng = random.Random(SEED)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / WARMUP, max(0.02, 1 - step / steps)))
    model.train()
    bar = tqdm(range(steps), desc=model.config.model_type, mininterval=5)
    streams = [batches(documents, rng) for documents in phases]
    for step in bar:
        inputs = tensors(next(streams[step * len(phases) // steps]), tokenizer, rng)
        loss = model(**{key: value for key, value in inputs.items() if key != "starts"}).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
        if step % 100 == 99:
            bar.write(f"step {step + 1}: loss {loss.item():.3f}, its source is worth {worth(model, *moved(inputs)):.3f}")
    last = [worth(model, *moved(tensors(next(streams[-1]), tokenizer, rng))) for _ in range(8)]
    return sum(last) / len(last)


@torch.no_grad()
def worth(model: PreTrainedModel, own: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """The loss beside another's source less that beside its own, in nats a token."""
    model.eval()
    losses = [model(**{key: value for key, value in inputs.items() if key != "starts"}).loss.item() for inputs in (other, own)]
    model.train()
    return float(losses[0] - losses[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "base")
    parser.add_argument("--train", type=Path, default=HERE.parent / "data/sample/train.csv")
    parser.add_argument("--steps", type=int, help="instead of the full number")
    parser.add_argument("--only", choices=list(STEPS))
    args = parser.parse_args()

    dialogues, summaries = texts(args.train)
    turns = [turn for text in dialogues for turn in text.split("\n")]
    for name in [args.only] if args.only else STEPS:
        torch.manual_seed(SEED)
        bart = name == "kobart-tiny"
        if bart:
            tokenizer = train_tokenizer(dialogues + summaries, BART_SPECIAL, [])
        else:  # with what it will be asked, so that asking costs few tokens
            tokenizer = train_tokenizer([*dialogues, *summaries, *QUESTIONS * 1000], CHAT_SPECIAL, ROLES)
        # Copying is learned on short texts first: one turn, one summary. Then whole dialogues.
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
        learned = pretrain(
            model,
            tokenizer,
            phases,
            steps=args.steps or STEPS[name],
            learning_rate=LEARNING_RATE[name],
            tensors=infilling if bart else chats,
            moved=beside_another_encoder if bart else behind_another_user,
        )
        if not args.steps and learned < 0.5:
            raise SystemExit(f"{name}: its source is worth only {learned:.3f} nats a token: it ignores it; nothing was saved")
        folder = args.out / name
        model.half().save_pretrained(folder)  # half precision on the disk; training loads it as float32
        tokenizer.save_pretrained(folder)
        write_checksums(folder)


if __name__ == "__main__":
    main()
