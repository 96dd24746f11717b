#!/bin/bash
# benches/instructions.sh [--rootvol BINARY] [--top N]: the instructions that a fixed small job takes, by valgrind --tool=callgrind.
#
# The job is the same everywhere: a tar that benches/inputs.py makes (1,000 files of 0 to 8 KiB, 1,000 of them empty in one
# directory, 20 directories deep, 400 hard and 400 symbolic links) → GPT + ext4 in a dynamic VHD of 256 MiB, one thread, with the
# SHA-256 of every block, to a file. The figure does not depend on load or clock, but on the compiler, which is printed, and on
# the kernel of SHA-256: valgrind (to 3.22 at least) knows neither AVX-512 nor SHA-NI, so on x86-64 it is the one for AVX2
# everywhere, as the list of functions shows. Compare runs of one compiler.
#
# The total stands in CHANGELOG.md. What is missing is a visible skip.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
rootvol=$here/../target/release/rootvol top=12
while [ $# -gt 0 ]; do
  case $1 in
    --rootvol) rootvol=$2 ;;
    --top) top=$2 ;;
    *) echo "instructions.sh: $1?" >&2; exit 2 ;;
  esac
  shift 2
done
for tool in valgrind callgrind_annotate python3 tar; do
  command -v "$tool" >/dev/null || { echo "SKIPPED: instructions, without $tool"; exit 0; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

PYTHONPATH=$here PYTHONDONTWRITEBYTECODE=1 python3 - "$work" <<'EOF'
import os, sys
import inputs
top = sys.argv[1]
for case, scale in (("b", 100), ("d", 50)):
    os.mkdir(f"{top}/{case}")
    inputs.make_input(case, None, f"{top}/{case}", scale)
EOF
sha256sum "$work"/?/source.tar | cut -c1-64 | tr '\n' ' ' | sed 's/^/inputs: /'
echo
valgrind --tool=callgrind --callgrind-out-file="$work/out" --quiet \
  "$rootvol" build "$work/b/source.tar" "$work/d/source.tar" -o "$work/disk.vhd" --quiet --boot none --size "256 MiB" --name fixed --threads 1 2>"$work/log" ||
  { cat "$work/log" >&2; exit 1; }
callgrind_annotate --threshold=100 "$work/out" >"$work/by-function"
total=$(sed -n 's/^ *\([0-9,]*\) (100.0%) *PROGRAM TOTALS.*/\1/p' "$work/by-function")
hashing=$(awk '/sha256::/ { gsub(",", "", $1); sum += $1 } END { printf "%.1f", sum / 1e6 }' "$work/by-function")
echo "instructions: $total, of which $hashing million are SHA-256 ($(rustc --version 2>/dev/null | cut -d' ' -f1-2), $(uname -m), $(valgrind --version))"
sed -n '/file:function/,$p' "$work/by-function" | sed -n 's/^ *\([0-9,]\{3,\} ([ 0-9.]*%)\) *\([^ ].*\)$/  \1 \2/p' | sed 's/ [^ ]*:\([^:]*::.*\)$/ \1/; s/ \[.*\]$//' | cut -c1-150 | sed -n "1,${top}p"
