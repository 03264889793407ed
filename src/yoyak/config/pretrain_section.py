"""The section `pretrain` of params.yaml: further pre-training of the checkpoint on dialogues."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from yoyak.config.fields import FROM_TEXT, Count, CountOrZero, NonEmpty, NotNegative, PositiveShare, Section, Seed, Share
from yoyak.config.objective_section import Objective
from yoyak.config.training_section import OptimizerName, Training

PRETRAINED = "models/pretrained"  # the output of the stage; training starts from it if the stage is on

Texts = Literal["train", "unlabelled", "both"]


class Pretrain(Section):
    """Further pre-training of the checkpoint on dialogues, before it learns to summarize.

    The names that TrainingArguments has too have its meaning. LoRA takes the section `lora`.
    """

    num_train_epochs: NotNegative = Field(
        description="Number of passes over the dialogues; 0 switches the stage off. If it is on, training starts from "
        "models/pretrained in place of `model.kobart.checkpoint` or `model.qlora.checkpoint`."
    )
    texts: Texts = Field(
        description="Dialogues that are read: those of train, those of `dialogues`, or both. Dialogues of dev and test, and "
        "those that are almost the same, are left out in any case."
    )
    dialogues: NonEmpty = Field(
        description="CSV or JSON-lines file with fname and dialogue, or a folder of such files. Read only with `texts: "
        "unlabelled` or `both`."
    )
    mask_ratio: Share = Field(
        description="Share of the tokens in masked spans (`kobart`). Each span becomes one mask token, and the model writes "
        "the whole text. BART takes 0.3 (Lewis et al. 2020, arXiv:1910.13461)."
    )
    poisson_lambda: Annotated[float, Field(ge=1), FROM_TEXT] = Field(
        description="Mean length of a masked span, in tokens (`kobart`). The lengths have a Poisson distribution; BART takes 3."
    )
    permute_turns: Share = Field(
        description="Share of the dialogues whose turns the model reads in random order (`kobart`). BART shuffles the "
        "sentences of every text."
    )
    mask_speakers: Share = Field(
        description="Share of the turns whose speaker tag is masked (`kobart`). The idea is from DialogLM (arXiv:2109.02492)."
    )
    method: Literal["lora", "full"] = Field(
        description="Weights that are trained (`qlora`). `lora` trains an adapter on the quantized model and merges it. `full` "
        "trains all weights in 32 bits, which takes 16 bytes a weight."
    )
    per_device_train_batch_size: Count = Field(
        description="Dialogues per device in one forward and backward pass. A dialogue longer than "
        "`tokenizer.max_input_length` is read in pieces of whole turns."
    )
    gradient_accumulation_steps: Count = Field(description="Batches whose gradients are added up for one optimizer step.")
    learning_rate: PositiveShare = Field(
        description="Highest learning rate. It rises during `warmup_steps` and falls linearly to 0. The default is for the "
        "tiny models in models/base; 1e-5 to 1e-4 is usual for larger ones."
    )
    warmup_steps: NotNegative = Field(
        description="Steps in which the learning rate rises from 0; a value below 1 is a share of all steps."
    )
    optim: OptimizerName = Field(description="Optimizer. The names are those of `training.optim`.")
    gradient_checkpointing: bool = Field(
        description="Compute the activations again in the backward pass: less memory, more time."
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        description="Number format of pre-training. It is as in `training.precision`."
    )
    save_steps: CountOrZero = Field(
        description="Steps between the checkpoints within an epoch; 0 saves only at its end. After a kill, the stage continues "
        "from the newest one."
    )
    logging_steps: Count = Field(description="Steps between two entries of the loss curve.")
    full_determinism: bool = Field(description="Give the same bytes on a GPU too; slower.")
    seed: Seed = Field(description="Seed of the noise, the order of dialogues, and the dialogues that measure the loss.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.warmup_steps > 1 and self.warmup_steps != int(self.warmup_steps):
            raise ValueError("warmup_steps: must be below 1 (a share of all steps) or a whole number of steps")
        return self

    @property
    def is_on(self) -> bool:
        return self.num_train_epochs > 0

    def as_training(self) -> Training:
        """The section `training` with which the trainer does this: cross-entropy, and the epoch with the lowest loss is taken.

        What has no param here is as in the pre-training of BART, or switched off.
        """
        plain = Objective(
            name="cross_entropy",
            r_drop_alpha=0,
            r3f_lambda=0,
            r3f_epsilon=1e-5,
            reward_weight=0,
            reward_start=0,
            reward_samples=1,
            tag_weight=1,
            unlikelihood=0,
        )
        same = (
            "num_train_epochs",
            "per_device_train_batch_size",
            "gradient_accumulation_steps",
            "learning_rate",
            "warmup_steps",
            "optim",
            "gradient_checkpointing",
            "precision",
            "save_steps",
            "logging_steps",
            "full_determinism",
            "seed",
        )
        return Training(
            objective=plain,
            per_device_eval_batch_size=self.per_device_train_batch_size,
            lr_scheduler_type="linear",
            lr_scheduler_kwargs={},
            weight_decay=0.01,
            label_smoothing_factor=0,
            max_grad_norm=1,
            adam_beta1=0.9,
            adam_beta2=0.999,
            adam_epsilon=1e-8,
            train_sampling_strategy="random",
            metric_for_best_model="loss",
            predict_with_generate=False,
            generation_num_beams=1,
            early_stopping_patience=0,
            ema_decay=0,
            average_checkpoints=0,
            average_choice="best",
            save_total_limit=2,
            debug=False,
            **{name: getattr(self, name) for name in same},
        )
