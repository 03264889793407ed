"""The command `serve`: a trained model behind HTTP."""

import argparse
import os
import sys
from importlib.util import find_spec
from pathlib import Path

from yoyak.cli.command import Command, add_changes, positive_number, whole_number
from yoyak.cli.trained_model import check_model
from yoyak.system.debug_note import DEBUG_WARNING, is_debug
from yoyak.system.errors import YoyakError

DEFAULT_PORT = 8000
UNFINISHED = 130  # as after Ctrl-C
PACKAGES = ("fastapi", "uvicorn", "prometheus_client")


def _serve(args: argparse.Namespace) -> None:
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise YoyakError(f"serving needs {', '.join(missing)}: pip install 'yoyak[serve]'")

    from yoyak.app.address import KEY_VARIABLE, is_loopback, listen, read_key
    from yoyak.app.model_source import default_model, open_source

    key = read_key()
    if key is None and not is_loopback(args.host) and not args.without_key:
        raise YoyakError(
            f"--host {args.host}: others can reach it; set {KEY_VARIABLE} to the key that they must send, or allow everybody "
            "with --without-key"
        )
    if args.port:
        listen(args.host, args.port).close()  # a port in use shows before torch is imported

    model = args.model or default_model(Path())
    if args.model is None:
        check_model(Path(model))
    with open_source(model, Path()) as source:
        source.check()
        if is_debug(source.folder):
            print(f"WARNING: {DEBUG_WARNING}", file=sys.stderr)
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads gain nothing for a few dialogues

        from yoyak.app.server import Options, serve

        options = Options(
            host=args.host,
            port=args.port,
            key=key,
            batch=args.batch_size,
            wait=args.wait / 1000,
            queue=args.queue,
            timeout=args.timeout,
            grace=args.grace,
            most_bytes=args.max_body,
        )
        is_finished = serve(lambda: source.load(args.set), args.name or source.name, options)
    if not is_finished:
        print("ended before everything was finished", file=sys.stderr, flush=True)
        os._exit(UNFINISHED)


def port_number(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535, got {text!r}")
    return int(text)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="folder of a trained model or a package, an archive of a package (.tar.gz, .zip), or an experiment (default: "
        "models/ and model.family)",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, only this machine)")
    port = f"port; 0 takes a free one (default: {DEFAULT_PORT})"
    parser.add_argument("--port", type=port_number, default=DEFAULT_PORT, metavar="N", help=port)
    parser.add_argument("--name", help="name of the model for clients (default: that of the folder or the experiment)")
    parser.add_argument(
        "--without-key",
        action="store_true",
        help="let everybody in who reaches the address; without it, another host than this machine needs YOYAK_SERVE_KEY",
    )
    numbers = (
        ("--batch-size", whole_number, 32, "the most dialogues that are written together"),
        ("--wait", positive_number, 5.0, "milliseconds that a batch waits for more dialogues"),
        ("--queue", whole_number, 256, "the most dialogues that wait; further requests get 429"),
        ("--timeout", positive_number, 60.0, "seconds that a request may take; then it gets 504"),
        ("--grace", positive_number, 60.0, "seconds to finish what was taken, when the server stops"),
        ("--max-body", whole_number, 4_000_000, "the most bytes of a request; a larger one gets 413"),
    )
    for name, kind, default, meaning in numbers:
        parser.add_argument(name, type=kind, default=default, metavar="N", help=f"{meaning} (default: {default:,g})")
    add_changes(parser, "use this value instead of the model's own, such as generation.num_beams=2; may be given several times")


COMMANDS = (
    Command(
        name="serve",
        summary="Serve a trained model over HTTP.",
        description="Serve a trained model: POST /v1/summaries, POST /v1/chat/completions (OpenAI's API), /healthz, /metrics, "
        "/docs. Requests are written together in batches, with the same summaries as `yoyak summarize`. Ctrl-C or SIGTERM "
        "finishes what was taken. The environment variable YOYAK_SERVE_KEY is the key that clients must send. It needs "
        "pip install 'yoyak[serve]'.",
        examples=(
            "yoyak serve",
            "yoyak serve packages/kobart --port 9000",
            "yoyak serve packages/kobart --host 0.0.0.0 --batch-size 64",
        ),
        run=_serve,
        add_arguments=_add_arguments,
        needs_root=False,
    ),
)
