#!/bin/sh
# Makes the sample lake of an earlier version: sh make.sh CHECKOUT OUTPUT.tar.gz
# CHECKOUT is a clone at that version, after its `make env`. See README.md.
set -eu
checkout=$1 output=$2
here=$(cd "$(dirname "$0")" && pwd)
python="$checkout/.venv/bin/python"
export LOGNAME=modeler PYTHONPATH="$checkout" PATH="$checkout/.venv/bin:$PATH"
call="import sys; from jobs.cli import main; sys.exit(main())"
platelake() { "$python" -c "$call" "$@" --stage-file chromate.toml --lake lake; }

rm -rf /tmp/platelake
mkdir -p /tmp/platelake/landing
cd /tmp/platelake
sed 's/= 224/= 64/' "$checkout/conf/stages/chromate.toml" > chromate.toml  # Small tensors.
"$python" "$here/make_landing.py" landing
find landing -type f -exec touch -d 2021-09-10T09:00:00Z {} +  # tar keeps whole seconds.
platelake run --landing landing
platelake train trees --kind logistic --folds 3
platelake promote chromate-lots --force "the first"
platelake score-lots
platelake train cnn --network small --folds 2 --epochs 2
platelake promote chromate-photos --force "the first"
platelake score-photos

# Nothing reads these again: kept trainings, plots, and examples of requests to MLflow's server.
rm -rf lake/training
find lake/mlflow \( -name '*.png' -o -name 'serving_input_example.json' \) -delete
"$python" - <<'PYTHON'
import sqlite3

with sqlite3.connect("lake/mlflow.db") as sql:
    sql.execute(
        "UPDATE logged_model_tags SET tag_value = 'platelake' "
        "WHERE tag_key = 'mlflow.source.name'"
    )
sql.execute("VACUUM")
PYTHON
tar --sort=name --owner=0 --group=0 --numeric-owner -cf - chromate.toml landing lake |
    gzip -9n > "$output"
