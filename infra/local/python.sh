#!/bin/sh
# Prints the path of a Python that has what requirements.txt says: the machine's
# own where it has exactly these versions, else one in .local/venv, which is made
# or refreshed first. Progress goes to standard error.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
venv=$root/.local/venv

has_all() {
	"$1" - "$here/requirements.txt" <<'PYTHON' 2>/dev/null
import importlib.metadata as metadata, re, sys
for line in open(sys.argv[1]):
    wanted = re.match(r"([\w-]+)(?:\[\w+\])?==(\S+)", line)
    if wanted and metadata.version(wanted[1]) != wanted[2]:
        sys.exit(1)
import flask, flask_cors, moto.server, waitress, samtranslator, cfnlint
PYTHON
}

if has_all "$venv/bin/python"; then
	echo "$venv/bin/python"
	exit
fi
python=$(command -v python3) || {
	echo "python3 is missing: install Python 3.10 or later (Debian: apt-get install python3 python3-venv)" >&2
	exit 1
}
if has_all "$python"; then
	echo "$python"
	exit
fi
echo "installing the local cloud's Python tools into .local/venv" >&2
mkdir -p "$root/.local"
"$python" -m venv --clear "$venv" >&2 || {
	echo "python3 cannot make virtual environments: install its venv module (Debian: apt-get install python3-venv)" >&2
	exit 1
}
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$here/requirements.txt" >&2
echo "$venv/bin/python"
