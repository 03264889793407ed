"""The command `app`: the web app."""

import argparse
import os
from importlib.util import find_spec
from pathlib import Path

from yoyak.cli.command import LANGUAGES, Command, whole_number
from yoyak.cli.serve_command import PACKAGES, port_number
from yoyak.system.errors import YoyakError

DEFAULT_PORT = 8100


def _app(args: argparse.Namespace) -> None:
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise YoyakError(f"the app needs {', '.join(missing)}: pip install 'yoyak[serve]'")

    from yoyak.app.address import KEY_VARIABLE, is_loopback, read_key

    key = read_key()
    if key is None and not is_loopback(args.host):
        raise YoyakError(f"--host {args.host}: others can reach it; set {KEY_VARIABLE} to the key that they must type")

    from yoyak.app.site.run_site import check_port, run_site

    check_port(args.host, args.port)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads gain nothing for a few dialogues
    run_site(
        Path.cwd(),
        args.language,
        host=args.host,
        port=args.port,
        key=key,
        models=args.models,
        ready=lambda address: print(f"{address}: open it in a browser; Ctrl-C stops the app", flush=True),
    )


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, only this machine)")
    port = f"port; 0 takes a free one (default: {DEFAULT_PORT})"
    parser.add_argument("--port", type=port_number, default=DEFAULT_PORT, metavar="N", help=port)
    parser.add_argument("--language", choices=LANGUAGES, default="ko", help="language of the pages (default: ko)")
    parser.add_argument(
        "--models", type=whole_number, default=2, metavar="N", help="the most models that stay in memory (default: 2)"
    )


COMMANDS = (
    Command(
        name="app",
        summary="Show all experiments in a browser, and try models.",
        description="Serve the web app of this repository: all experiments in a table that sorts, filters and plots, live "
        "while something runs; the pages of runs, comparisons, searches and data; logs; and a page to try trained models on "
        "dialogues of your own. It listens on this machine only, unless YOYAK_SERVE_KEY has a key. The pages load nothing "
        "from elsewhere.",
        examples=("yoyak app", "yoyak app --port 9000 --language en", "yoyak app --models 4"),
        run=_app,
        add_arguments=_add_arguments,
    ),
)
