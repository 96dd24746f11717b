#!/bin/bash
# fuzz-short.sh [SECONDS [TARGET...]]
#
# Makes the seed corpora with the library's own writers (fuzz/seeds.rs), builds
# the fuzz targets (fuzz/) and runs each, or those named, for SECONDS (default
# 10) on its corpus. Exit 0: no finding. Exit 1: a target found something; its
# input lies in target/fuzz/findings, and is run again with
#   target/fuzz/build/TRIPLE/release/TARGET FILE
#
# Needs stable Rust and a C++ compiler. cargo-fuzz is not needed: the flags
# below are those that it gives the compiler, without a sanitizer, as nearly
# all of the code is safe. With SANITIZER=address (RUSTC_BOOTSTRAP=1 is set
# then, for fuzzing only) memory errors of the C code are found too.
#
# What is learnt is kept in target/fuzz/corpus/TARGET, so that long runs can be
# made in pieces: JOBS=1 tests/tools/fuzz-short.sh 3600 fat
# Environment: FUZZ_DIR   in place of target/fuzz
#              SANITIZER  none (default) or address
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-10}
shift || true
dir=${FUZZ_DIR:-$PWD/target/fuzz}
sanitizer=${SANITIZER:-none}
triple=$(rustc -vV | sed -n 's/^host: //p')
all=$(sed -n 's/^name = "\(.*\)"$/\1/p' fuzz/Cargo.toml | grep -v '^rootvol-fuzz$')
targets=("$@")
[ $# -gt 0 ] || mapfile -t targets <<< "$all"

flags='-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters'
flags+=' -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Ccodegen-units=4'
if [ "$sanitizer" != none ]; then
  export RUSTC_BOOTSTRAP=1
  flags+=" -Zsanitizer=$sanitizer"
fi

cargo run --quiet --example seeds -- "$dir/seeds"
# --target: build scripts and procedural macros are not instrumented.
RUSTFLAGS="$flags" cargo build --quiet --release --manifest-path fuzz/Cargo.toml --target "$triple" --target-dir "$dir/build" $(printf -- '--bin %s ' "${targets[@]}")

found=0
for target in "${targets[@]}"; do
  mkdir -p "$dir/corpus/$target" "$dir/seeds/$target" "$dir/findings"
  log=$dir/$target.log
  # An input of a few KiB has 5 s and 1 GiB: far more than any takes.
  if "$dir/build/$triple/release/$target" "$dir/corpus/$target" "$dir/seeds/$target" -max_total_time="$seconds" -timeout=5 -rss_limit_mb=1024 \
      -artifact_prefix="$dir/findings/$target-" -print_final_stats=1 > "$log" 2>&1; then
    echo "fuzz: $target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") executions in $seconds s, $(grep -o 'cov: [0-9]*' "$log" | tail -1)"
  else
    echo "fuzz: $target FAILED:"
    tail -n 40 "$log"
    found=1
  fi
done
exit $found
