#!/usr/bin/env bash
# Builds the packages for deployment, in the release profile, and runs the guarantees on them.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/cargo-lambda.sh

# No cross compiler is needed: the packages run on this machine.
cargo lambda build --release --locked --compiler cargo --output-format zip \
  -p adder -p import-csv -p report -p webhook -p beater -p sqjobs-tests \
  --bin adder --bin import-csv --bin fetch --bin summarize --bin publish --bin notify --bin webhook --bin beater --bin probe

SQJOBS_TESTS_PACKAGES="$PWD/target/lambda" cargo test -p sqjobs-tests --locked -- --test-threads 8
