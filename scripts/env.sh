#!/bin/sh
# Finds a Python that fits pyproject.toml and lets it bring .venv up to date: `make env`.
# An argument (`make env PYTHON=...`) names it: a command, a path, or just 3.12.
set -eu
cd "$(dirname "$0")/.."
asked=${1:-}

# requires-python = ">=3.OLDEST,<3.AFTER"
rule=$(sed -n 's/^requires-python = ">=3\.\([0-9]*\),<3\.\([0-9]*\)"$/\1 \2/p' pyproject.toml)
oldest=${rule% *}
newest=$((${rule#* } - 1))
found=""

fits() {
    # A pyenv shim is there for versions that are not: only running it tells.
    version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || return 1
    found="$found, $1 is $version"
    [ "${version%.*}" = 3 ] && [ "${version#*.}" -ge "$oldest" ] && [ "${version#*.}" -le "$newest" ]
}

case $asked in
    "")
        candidates=".venv/bin/python python3"
        minor=$newest
        while [ "$minor" -ge "$oldest" ]; do
            candidates="$candidates python3.$minor"
            minor=$((minor - 1))
        done
        ;;
    3.*) candidates="python$asked" ;;
    *) candidates=$asked ;;
esac
for python in $candidates; do
    if fits "$python"; then
        exec "$python" -B scripts/make_env.py
    fi
done
needs="platelake needs Python 3.$oldest to 3.$newest"
found=${found#, }
if [ -n "$asked" ]; then
    fault=${found:-$candidates does not run}
else
    fault="none is on PATH (${found:-no python3 runs})"
fi
echo "$needs; $fault. Name another: make env PYTHON=/path/to/python3.$newest" >&2
exit 1
