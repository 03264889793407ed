"""Commands that choose a setting and check it: presets, use, doctor."""

import argparse
from pathlib import Path

from yoyak.cli.command import Command, positive_number

PRESETS = Path("presets")
PARAMS = Path("params.yaml")


def _presets(_: argparse.Namespace) -> None:
    from yoyak.config import presets

    for name in presets.preset_names(PRESETS):
        overlay, _about = presets.read_preset(name, PRESETS)
        model = overlay.get("model", {})
        family = model.get("family", "-")
        chosen = model.get(family, {})
        name_of_model = chosen.get("checkpoint") or chosen.get("model") or "sets no model; use it after a preset that does"
        print(f"{name:24}  {family:8}  {name_of_model}")


def _use(args: argparse.Namespace) -> None:
    from yoyak.config import presets

    changes = presets.write_preset(args.name, folder=PRESETS, params=PARAMS)
    print("\n".join(changes) or f"{PARAMS} already has the values of preset {args.name}; nothing changed")
    _print_next_step()


def _print_next_step() -> None:
    """Say what is missing before the model of params.yaml can be loaded."""
    from yoyak.config.params import load_params
    from yoyak.models.hub import can_be_hub_name, pin_advice

    chosen = load_params(PARAMS).model.chosen
    checkpoint, revision = getattr(chosen, "checkpoint", ""), getattr(chosen, "revision", "")
    if revision is None and can_be_hub_name(checkpoint) and not Path(checkpoint).is_dir():
        print(f"\nNext step: {checkpoint} needs a revision before it can run. {pin_advice(checkpoint)}.")


def _add_use_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="PRESET", help="a name that `yoyak presets` lists")


def _doctor(args: argparse.Namespace) -> None:
    if args.gib is not None and not args.presets:
        args.parser.error("--gib works only together with --presets")

    from yoyak.config.params import load_params

    params = load_params()

    from yoyak.training import preflight, preset_memory

    if args.presets:
        print("\n".join(preset_memory.preset_table(PRESETS, PARAMS, gib=args.gib)))
    elif not preflight.run_checks(params, step=not args.no_step):
        raise SystemExit("doctor: at least one check failed; correct what the FAIL lines name, then run `yoyak doctor` again")


def _add_doctor_arguments(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--no-step", action="store_true", help="do not train a step")
    which.add_argument("--presets", action="store_true", help="instead, say of every preset whether it can run here")
    parser.add_argument(
        "--gib",
        type=positive_number,
        metavar="N",
        help="with --presets: compare with a GPU of N GiB (default: the free memory of this machine)",
    )


COMMANDS = (
    Command(
        name="presets",
        summary="List the presets.",
        description="List the presets: name, model family, and checkpoint or name on the server. A preset is a file in "
        "presets/ with recommended params, mostly for one model. `yoyak use PRESET` writes it into params.yaml.",
        examples=("yoyak presets",),
        run=_presets,
    ),
    Command(
        name="use",
        summary="Write a preset into params.yaml.",
        description="Write the values of a preset into params.yaml and print what changed. Comments and other values in "
        "params.yaml stay. Nothing is trained; `dvc repro` does that.",
        examples=("yoyak use kobart", "yoyak use qwen3-4b && yoyak doctor"),
        run=_use,
        add_arguments=_add_use_arguments,
    ),
    Command(
        name="doctor",
        summary="Check machine, params, data and model before a long run.",
        description="Check params, package versions, device, tokenizer, data, checkpoint, memory and disk, and train one "
        "step on two rows. It takes about a minute and writes no files. Each check prints a line that starts with ok or "
        "FAIL.",
        examples=("yoyak doctor", "yoyak doctor --presets --gib 24   # which presets fit on a GPU of 24 GiB?"),
        run=_doctor,
        add_arguments=_add_doctor_arguments,
    ),
)
