#!/bin/sh
# Install one program, and nothing else, into a virtual environment of its own: what Dockerfile.agent and Dockerfile.hub do, and what a
# machine without containers does. Run in the repository; needs Python 3.11 or newer with venv.
#
#   sh requirements/install.sh PROGRAM TARGET [BUILD]
#
# PROGRAM agent or hub, TARGET the new environment, BUILD a folder for what is only needed meanwhile (a temporary one if left out).
set -eu
program=$1
target=$2
build=${3:-$(mktemp -d)}
case $program in
  agent) assets=agent/fonts/build.py ;;
  hub) assets=hub/ui/build.py ;;
  *) echo "the program is agent or hub, not $program" >&2; exit 2 ;;
esac
tools="$build/tools/bin/python"

"${PYTHON:-python3}" -m venv "$build/tools"
"$tools" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
"$tools" requirements/uv.py pip install --quiet --python "$tools" --require-hashes -r requirements/build.txt
"$tools" "$assets"
for member in wire "$program"; do
  "$tools" requirements/uv.py build --quiet --wheel --no-build-isolation --python "$tools" --out-dir "$build/wheels" "$member"
done

"${PYTHON:-python3}" -m venv --without-pip "$target"
"$tools" requirements/uv.py pip install --quiet --python "$target/bin/python" --require-hashes -r "requirements/$program.txt"
"$tools" requirements/uv.py pip install --quiet --python "$target/bin/python" --no-deps "$build"/wheels/*.whl
