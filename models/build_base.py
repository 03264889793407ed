"""Pre-train the small checkpoints of models/base on the text of data/sample's train split.

    make base                                        # both the tokenizer and the weights again, in about fifteen minutes
    python models/build_base.py --out DIR --steps 5  # a short run somewhere else, as the tests do

kobart-tiny is a BART. It learns text infilling (Lewis et al. 2020, arXiv:1910.13461, section 2.2): spans of a dialogue or
of a summary are each replaced by one <mask>, and the model writes the whole text. A dialogue never stands beside its
summary here, so summarization is left to be taught by the pipeline. The same seed gives the same bytes on one machine.
"""

import argparse
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from tqdm import tqdm
from transformers import BartConfig, BartForConditionalGeneration, PreTrainedTokenizerFast

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "src"))

from yoyak.dialogue import LISTED_TAGS  # noqa: E402
from yoyak.files import read_csv  # noqa: E402
from yoyak.preprocess import clean_row  # noqa: E402

SEED = 20261120
VOCABULARY = 4000
SPECIAL = ["<s>", "</s>", "<pad>", "<unk>", "<mask>"]
TOKENS_A_BATCH = 2000
MASKED_SHARE = 0.3  # of the tokens, in spans of Poisson(3) length, as in the paper
UNSEEN_SHARE = 0.3  # of the decoder's inputs, hidden so that it must look at the encoder (word dropout, arXiv:1511.06349)
LEARNING_RATE = 1e-3  # at 2e-3 the encoder died: every position came out the same, and the loss fell all the same
WARMUP = 150  # steps


def texts(path: Path) -> tuple[list[str], list[str]]:
    """The cleaned dialogues and the summaries of a CSV."""
    dialogues, summaries = [], []
    for _, cells in read_csv(path, required=["fname", "dialogue", "summary"]):
        row, _ = clean_row(cells, noise="moderate", person_tags="keep_original", with_summary=True)
        dialogues.append(row["dialogue"])
        summaries.append(row["summary"])
    return dialogues, summaries


def train_tokenizer(corpus: list[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE, so that no text has unknown tokens. Adds neither <s> nor </s>, as KoBART's does not."""
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.add_tokens([AddedToken(tag, normalized=False) for tag in LISTED_TAGS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
        clean_up_tokenization_spaces=False,
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


def tensors(batch: list[list[int]], tokenizer: PreTrainedTokenizerFast, rng: random.Random) -> dict[str, torch.Tensor]:
    """What the model is called with: infilled texts in, whole texts out."""
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


def pretrain(
    model: BartForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    phases: list[list[list[int]]],
    steps: int,
) -> float:
    """Text infilling by AdamW with warm-up and linear decay, in place; each phase has its texts and an equal part of the steps.

    Returns how much the loss rises when each text is put beside another one's encoder states, in nats a token: near 0 the
    decoder has become a language model that ignores its encoder.
    """
    rng = random.Random(SEED)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / WARMUP, max(0.02, 1 - step / steps)))
    model.train()
    bar = tqdm(range(steps), desc="kobart-tiny", mininterval=5)
    streams = [batches(documents, rng) for documents in phases]
    for step in bar:
        inputs = tensors(next(streams[step * len(phases) // steps]), tokenizer, rng)
        loss = model(**inputs).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
        if step % 100 == 99:
            bar.write(f"step {step + 1}: loss {loss.item():.3f}, encoder's worth {encoder_worth(model, inputs):.3f}")
    return encoder_worth(model, inputs)


@torch.no_grad()
def encoder_worth(model: BartForConditionalGeneration, inputs: dict[str, torch.Tensor]) -> float:
    """The rise of the loss, in nats a token, when the batch's encoder inputs are moved on by one row."""
    model.eval()
    moved = inputs | {key: inputs[key].roll(1, 0) for key in ("input_ids", "attention_mask")}
    worth = model(**moved).loss.item() - model(**inputs).loss.item()
    model.train()
    return float(worth)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "base")
    parser.add_argument("--train", type=Path, default=HERE.parent / "data/sample/train.csv")
    parser.add_argument("--steps", type=int, default=2400)
    args = parser.parse_args()

    torch.manual_seed(SEED)
    dialogues, summaries = texts(args.train)
    tokenizer = train_tokenizer(dialogues + summaries)
    turns = [turn for text in dialogues for turn in text.split("\n")]
    # Copying is learned on short texts first: one turn, one summary. Then whole dialogues.
    phases = [
        [ids for ids in tokenizer(texts).input_ids if len(ids) > 3] for texts in (turns + summaries, dialogues + summaries)
    ]
    model = BartForConditionalGeneration(bart_config(tokenizer))
    print(f"{sum(map(len, phases[1])):,} tokens; {model.num_parameters():,} parameters")
    worth = pretrain(model, tokenizer, phases, args.steps)
    if args.steps >= 1000 and worth < 0.5:
        raise SystemExit(f"the encoder is worth only {worth:.3f} nats a token: the decoder ignores it; nothing was saved")
    folder = args.out / "kobart-tiny"
    model.half().save_pretrained(folder)  # half precision on the disk; training loads it as float32
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    main()
