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
LONGEST = 256  # tokens of a text that pre-training sees
TOKENS_A_BATCH = 3000
MASKED_SHARE = 0.3  # of the tokens, in spans of Poisson(3) length, as in the paper
LEARNING_RATE = 2e-3


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


def pretrain(
    model: BartForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, documents: list[list[int]], steps: int
) -> None:
    """Text infilling by AdamW with warm-up and cosine decay, in place."""
    rng = random.Random(SEED)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=steps + 1, pct_start=min(0.1, 100 / steps), cycle_momentum=False
    )
    model.train()
    stream = batches(documents, rng)
    bar = tqdm(range(steps), desc="kobart-tiny", mininterval=5)
    for _ in bar:
        batch = next(stream)
        inputs = pad(
            [[*infill(ids, mask=tokenizer.mask_token_id, rng=rng), tokenizer.eos_token_id] for ids in batch],
            tokenizer.pad_token_id,
        )
        labels = pad([[*ids, tokenizer.eos_token_id] for ids in batch], -100)
        loss = model(input_ids=inputs, attention_mask=inputs != tokenizer.pad_token_id, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "base")
    parser.add_argument("--train", type=Path, default=HERE.parent / "data/sample/train.csv")
    parser.add_argument("--steps", type=int, default=4000)
    args = parser.parse_args()

    torch.manual_seed(SEED)
    dialogues, summaries = texts(args.train)
    tokenizer = train_tokenizer(dialogues + summaries)
    documents = [tokenizer(text).input_ids[:LONGEST] for text in dialogues + summaries]
    model = BartForConditionalGeneration(bart_config(tokenizer))
    print(f"{len(documents)} texts, {sum(map(len, documents)):,} tokens; {model.num_parameters():,} parameters")
    pretrain(model, tokenizer, documents, args.steps)
    folder = args.out / "kobart-tiny"
    model.half().save_pretrained(folder)  # half precision on the disk; training loads it as float32
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    main()
