#!/bin/sh
# Finds a Python 3.11 to 3.13 and lets it bring .venv up to date: `make env`.
# An argument (`make env PYTHON=...`) names it: a command, a path, or just 3.12.
set -eu
cd "$(dirname "$0")/.."
asked=${1:-}

fits() {
    # A pyenv shim is there for versions that are not: only running it tells.
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

case $asked in
    "") candidates=".venv/bin/python python3 python3.13 python3.12 python3.11" ;;
    3.*) candidates="python$asked" ;;
    *) candidates=$asked ;;
esac
for python in $candidates; do
    if fits "$python"; then
        exec "$python" -B scripts/make_env.py
    fi
done
if [ -n "$asked" ]; then
    echo "platelake needs Python 3.11 to 3.13; $candidates is not one of them, or does not run." >&2
else
    echo "platelake needs Python 3.11 to 3.13; found none as python3, python3.13, python3.12 or" \
        "python3.11. Name one: make env PYTHON=/path/to/python3.13" >&2
fi
exit 1
