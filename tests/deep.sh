#!/usr/bin/env bash
# The proofs in their long forms: the model within larger bounds, a million simulated jobs, a storm of five thousand on
# the real local stack, half an hour of fuzzing for each target, and what is depended on. What cannot run here is named.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$1"; }

step "every order of events within larger bounds"
# Without link-time optimization, which takes longer than it saves.
CARGO_PROFILE_RELEASE_LTO=off cargo test --release --locked -p sqjobs --lib -- --ignored --nocapture within_larger_bounds

step "a million simulated jobs"
CARGO_PROFILE_RELEASE_LTO=off cargo run --release --locked -q -p sqjobs-tests --bin simulate -- 1000000

step "five thousand jobs in a storm"
cargo test --locked -p sqjobs-tests --test guarantees -- --ignored --nocapture five_thousand

step "fuzzing, half an hour for each target, four at a time"
if cargo +nightly --version >/dev/null 2>&1; then
  tools=$PWD/target/tools
  cargo install --quiet --locked --root "$tools" cargo-fuzz
  export PATH="$tools/bin:$PATH" CARGO_TARGET_DIR=$PWD/target/fuzz
  (cd tests/fuzz && cargo +nightly fuzz build)
  running=()
  for target in envelope event record schedule; do
    mkdir -p "target/fuzz/corpus/$target"
    (cd tests/fuzz && cargo +nightly fuzz run "$target" "../../target/fuzz/corpus/$target" "corpus/$target" -- \
      -max_total_time="${FUZZ_S:-1800}" -timeout=20 >"../../target/fuzz/$target.log" 2>&1) &
    running+=($!)
  done
  for process in "${running[@]}"; do wait "$process"; done
  unset CARGO_TARGET_DIR
else
  echo "NOT DONE: fuzzing, for there is no nightly compiler"
fi

step "what is depended on: licences, duplicates, sources, advisories"
cargo install --quiet --locked --root target/tools cargo-deny
target/tools/bin/cargo-deny --config tests/deny.toml check --hide-inclusion-graph licenses bans sources
target/tools/bin/cargo-deny --config tests/deny.toml check --hide-inclusion-graph advisories ||
  echo "NOT CHECKED, or not clean: advisories; the lines before say which"
