#!/bin/sh
# Print the path of a Python that can run yoyak, or explain how to install one. `make setup` calls this script.
# usage: tools/find-python.sh [PYTHON]
#   PYTHON  the interpreter that the user chose (make setup PYTHON=...), a path or a name such as python3.12; no other is tried then
set -u

SUPPORTED="3.11 3.12" # the versions of pyproject.toml; 3.11 comes first, because the results in the documents come from it
FIRST=${SUPPORTED%% *}
PYENV=${PYENV_ROOT:-${HOME:-}/.pyenv}/versions

# The version of an interpreter, such as 3.11. Nothing if it does not run: a shim of pyenv fails where its version is not active.
version() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

is_supported() {
    case " $SUPPORTED " in *" $1 "*) [ -n "$1" ] ;; *) false ;; esac
}

# Debian and Ubuntu ship Python without ensurepip, which `python -m venv` needs.
has_venv() {
    "$1" -c 'import ensurepip, venv' 2>/dev/null
}

# The interpreter itself, not a shim, and not the environment that is about to be replaced.
print_path() {
    "$1" -c 'import sys; print(getattr(sys, "_base_executable", None) or sys.executable)'
}

explain_venv() {
    echo "$1 cannot create virtual environments: its venv or ensurepip module is missing." >&2
    echo "  Debian, Ubuntu, WSL:  sudo apt install python$2-venv" >&2
    echo "Then run the command again." >&2
    exit 1
}

explain_python() {
    cat >&2 <<EOF
yoyak needs Python $(echo "$SUPPORTED" | sed 's/ / or /'). $1
Install one of them in one of these ways, then run the command again:
  any system:              install uv (https://docs.astral.sh/uv); make setup then installs Python $FIRST by itself
  Debian 12:               sudo apt install python3.11 python3.11-venv
  Ubuntu 24.04, WSL:       sudo apt install python3.12 python3.12-venv
  macOS:                   brew install python@$FIRST
  pyenv:                   pyenv install $FIRST
If it is installed already, name it: make setup PYTHON=/path/to/python$FIRST
EOF
    exit 1
}

if [ -n "${1:-}" ]; then
    for candidate in "$1" "$PYENV/${1#python}".*/bin/python; do
        number=$(version "$candidate") || continue
        is_supported "$number" || explain_python "PYTHON=$1 is Python $number."
        has_venv "$candidate" || explain_venv "$candidate" "$number"
        print_path "$candidate"
        exit
    done
    explain_python "PYTHON=$1 does not run."
fi

without_venv=
for number in $SUPPORTED; do
    for candidate in "python$number" python3 python "$PYENV/$number".*/bin/python; do
        [ "$(version "$candidate")" = "$number" ] || continue
        if has_venv "$candidate"; then
            print_path "$candidate"
            exit
        fi
        without_venv="${without_venv:-$candidate $number}"
    done
done

if command -v uv >/dev/null 2>&1; then
    export UV_PYTHON_PREFERENCE=only-managed # a Python of uv's own always has venv
    uv python install "$FIRST" >&2 && uv python find --no-project "$FIRST" && exit
    explain_python "uv could not install it."
fi
# shellcheck disable=SC2086  # two words: the interpreter and its version
[ -z "$without_venv" ] || explain_venv $without_venv
explain_python "None of them was found."
