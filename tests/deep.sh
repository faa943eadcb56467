#!/usr/bin/env bash
# The long forms of the proofs: the models within larger bounds, a million simulated jobs, a storm of five thousand jobs and other
# guarantees that take minutes on the real local stack, half an hour of fuzzing for each target, coverage, mutants, and dependencies.
# Names each step that cannot run.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$1"; }

step "every order of events within larger bounds, and rules that are broken on purpose"
# Link-time optimization would take longer than it saves.
CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 cargo test --release --locked -p sqjobs --lib -- --ignored --nocapture \
  within_larger_bounds each_broken_rule

step "a million simulated jobs"
CARGO_PROFILE_RELEASE_LTO=off cargo run --release --locked -q -p sqjobs-tests --bin simulate -- 1000000

step "the guarantees that take minutes: thousands of jobs, a program that aborts, pictures of each view"
cargo test --locked -p sqjobs-tests --test guarantees -- --ignored --nocapture

step "the guarantees with polling workers in the place of functions"
# Left out: tests of the command and of deployments, and tests of what only Lambda does: deadlines, roles, exact counts of requests.
SQJOBS_TESTS_WORKER=poll cargo test --locked -p sqjobs-tests --test guarantees -- \
  --skip browser --skip cli:: --skip docs:: --skip infra --skip outside --skip permissions --skip scale \
  --skip reports:: --skip request_count:: --skip roles:: --skip traces:: \
  --skip a_batch_of_ --skip a_json_bomb_ --skip a_job_interrupted_after_ --skip an_attempt_running_at_ --skip the_metrics_of_a_function_ \
  --skip a_finish_whose_ --skip ten_finishes_whose__

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
  echo "NOT DONE: fuzzing, since there is no nightly compiler"
fi

step "coverage of the library by the guarantees"
# Uses the profiler tools of the compiler, or those in LLVM_COV and LLVM_PROFDATA.
if [ -n "${LLVM_COV-}" ] || rustup component list --installed 2>/dev/null | grep -q llvm-tools; then
  cargo install --quiet --locked --root target/tools cargo-llvm-cov
  # Functions are killed, so their counters must be in a mapped file (%c), which the compiler must support.
  export LLVM_PROFILE_FILE_NAME="sqjobs-%m%c.profraw"
  RUSTFLAGS="-C llvm-args=-runtime-counter-relocation" \
    target/tools/bin/cargo-llvm-cov llvm-cov test --no-report --workspace --locked --test guarantees -- --test-threads 8
  target/tools/bin/cargo-llvm-cov llvm-cov report --ignore-filename-regex '(tests|benches|cli|functions|testing)/'
else
  echo "NOT DONE: coverage, since the profiler tools are not installed (rustup component add llvm-tools)"
fi

step "mutants of the protocol that no test detects"
cargo install --quiet --locked --root target/tools cargo-mutants
# PROOF.md explains the equivalent mutant.
target/tools/bin/cargo-mutants mutants -p sqjobs --file 'shared/src/lifecycle/*.rs' \
  --exclude 'shared/src/lifecycle/tests*' --exclude 'shared/src/lifecycle/tests/**' --output target \
  -- --locked --lib -- lifecycle --skip model || true

step "dependencies: licences, duplicates, sources, advisories"
cargo install --quiet --locked --root target/tools cargo-deny
target/tools/bin/cargo-deny --config tests/deny.toml check --hide-inclusion-graph licenses bans sources
target/tools/bin/cargo-deny --config tests/deny.toml check --hide-inclusion-graph advisories ||
  echo "NOT CHECKED, or not clean: advisories; see the lines above"
