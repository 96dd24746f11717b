#!/bin/bash
# other-processors.sh
#
# Runs the tests of src/checksum/sha256 on processors that this machine is not, by emulation: on x86-64 with SHA extensions
# and with AVX2, with one of the two, and with neither (QEMU does not know AVX-512); on ARMv8 with SHA-256 instructions.
# They are built by themselves (tests/processors), so that neither the whole crate nor a C compiler for Arm is needed.
#
# An emulator that is missing is said, and in CI a failure. So is Rust's library for Arm, but that is not a failure:
# it cannot be had everywhere. The lines "this processor lacks" are checked, so that nothing passes by being skipped.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../processors"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$here/../../target/processors}

skip() { # WHY
  echo "SKIPPED: $1" >&2
  [ -z "${CI:-}" ] || { echo "other-processors: in CI nothing may be skipped" >&2; exit 1; }
}

# run TARGET EMULATOR PROCESSOR LACKS: all tests pass, and the only kernels of this architecture that are skipped are LACKS.
run() {
  local target=$1 emulator=$2 processor=$3 expected=$4 runner log lacks
  command -v "$emulator" >/dev/null || { skip "$emulator is not installed, processor $processor"; return; }
  runner=CARGO_TARGET_$(tr a-z- A-Z_ <<<"$target")_RUNNER
  log=$(env "$runner=$emulator -cpu $processor" cargo test --quiet --locked --lib --target "$target" 2>&1) || {
    echo "$log" >&2
    echo "other-processors: FAILED: $emulator -cpu $processor" >&2
    return 1
  }
  lacks=$(sed -n 's/.*SKIPPED: this processor lacks //p' <<<"$log" | sort -u | paste -sd ' ')
  [ "$lacks" = "$expected" ] || {
    echo "$log" >&2
    echo "other-processors: FAILED: $emulator -cpu $processor lacks '$lacks', but should lack '$expected'" >&2
    return 1
  }
  echo "other-processors: $emulator -cpu $processor: passed; kernels that it lacks: ${lacks:-none}"
}

x86=x86_64-unknown-linux-gnu
if [ "$(uname -m)" = x86_64 ]; then
  run $x86 qemu-x86_64 max 'Avx512'
  run $x86 qemu-x86_64 Denverton 'Avx2 Avx512'
  run $x86 qemu-x86_64 Haswell 'Avx512 ShaNi'
  run $x86 qemu-x86_64 qemu64 'Avx2 Avx512 ShaNi'
else
  skip 'the kernels of x86-64 are tested on x86-64 only'
fi

arm=aarch64-unknown-linux-musl
rustup target add "$arm" >/dev/null 2>&1 || true
if [ -d "$(rustc --print target-libdir --target "$arm" 2>/dev/null || echo /nonexistent)" ]; then
  CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER=rust-lld run "$arm" qemu-aarch64 max ''
else
  echo "SKIPPED: target $arm cannot be had here" >&2
fi
