#!/usr/bin/env bash
# Builds the packages as they are deployed, in the release profile, and has the guarantees tested on them.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/cargo-lambda.sh

# Without a cross compiler: what runs here is what was built here.
cargo lambda build --release --locked --compiler cargo --output-format zip \
  -p adder -p webhook -p beater -p sqjobs-tests --bin adder --bin webhook --bin beater --bin probe

SQJOBS_TESTS_PACKAGES="$PWD/target/lambda" cargo test -p sqjobs-tests --locked -- --test-threads 8
