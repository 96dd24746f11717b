#!/bin/bash
# benches/hashes.sh [ROUNDS]: SHA-256 of blocks of 512 KiB by every kernel of rootvol that this processor has, beside the
# crates sha2, ring, aws-lc-rs, openssl (the system's library) and tape-sha256, as a Markdown table: benches/peers/hashes.
# What cannot be built here is said and left out. OUT says where it is built (default: target/peers/cargo).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export CARGO_TARGET_DIR=${OUT:-$here/../target/peers/cargo}
manifest=$here/peers/hashes/Cargo.toml
features=()
for feature in ring aws-lc openssl; do
  if cargo check --quiet --release --locked --manifest-path "$manifest" --features "$feature" >/dev/null 2>&1; then
    features+=("$feature")
  else
    echo "SKIPPED: $feature cannot be built here" >&2
  fi
done
cargo build --quiet --release --locked --manifest-path "$manifest" --features "$(IFS=,; echo "${features[*]-}")"
grep -m 1 'model name' /proc/cpuinfo 2>/dev/null | cut -d : -f 2 || true
"$CARGO_TARGET_DIR/release/peer-hashes" "$@"
