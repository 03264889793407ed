"""README's section "Sharing": results and experiments go through a DVC remote, and in another's clone nothing is left to do."""

import secrets
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from tests.pipeline.repository import command, commit, outputs

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """The address of an S3 server on this machine, with an empty bucket."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    urllib.request.urlopen(urllib.request.Request(f"{address}/bucket", method="PUT")).close()
    yield address
    server.stop()


def written(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in outputs(folder)}


@pytest.mark.very_slow
@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_another_clone_has_nothing_to_do(kind: str, finished_kobart: Path, bucket: str, tmp_path: Path) -> None:
    keys = {"AWS_ACCESS_KEY_ID": secrets.token_hex(8), "AWS_SECRET_ACCESS_KEY": secrets.token_hex(16)}
    nowhere = str(tmp_path / "none")  # whoever runs this has settings of their own
    variables = {**keys, "AWS_CONFIG_FILE": nowhere, "AWS_SHARED_CREDENTIALS_FILE": nowhere, "AWS_DEFAULT_REGION": "us-east-1"}

    def run(folder: Path, line: str) -> str:
        return command(folder, *line.split(), fails=False, **variables)

    ours, origin, theirs, third = (tmp_path / name for name in ("ours", "origin.git", "다른 곳", "third"))
    shutil.copytree(finished_kobart, ours)
    run(ours, f"git clone -q --bare . {origin}")
    run(ours, f"git remote add origin {origin}")
    run(ours, f"dvc remote add -d store {tmp_path / 'store' if kind == 'folder' else 's3://bucket/yoyak'}")
    if kind == "s3":
        run(ours, f"dvc remote modify store endpointurl {bucket}")
    commit(ours, "Remote")
    run(ours, "dvc push")
    run(ours, "git push -q origin HEAD")

    command(tmp_path, "git", "clone", "-q", str(origin), str(theirs))
    run(theirs, "dvc pull")
    assert written(theirs) == written(ours)
    assert "up to date" in run(theirs, "dvc repro")
    assert "up to date" in run(theirs, "dvc status")

    before = written(ours)
    run(ours, "dvc exp run -n seven -S score.seed=7")
    run(ours, "dvc exp push origin seven")
    command(tmp_path, "git", "clone", "-q", str(origin), str(third))
    run(third, "dvc exp pull origin seven")
    run(third, "dvc exp apply seven")
    assert written(third) == written(ours) != before
    assert "up to date" in run(third, "dvc repro")

    for path in (path for path in tmp_path.rglob("*") if path.is_file()):
        kept = path.read_bytes()
        assert not any(key.encode() in kept for key in keys.values()), path
