#!/bin/bash
# benches/peers.sh [OUT]: gets what benches/ext4.py compares with into OUT (default: target/peers).
#
#   OUT/mke2fs   of the newest e2fsprogs that Debian has (1.47.2 or newer: earlier ones take no tar), built from source.
#                libarchive is loaded when a tar is read (Debian: libarchive13 or libarchive13t64).
#   OUT/mkext4   the crate mkext4 (crates.io) behind a small command: benches/peers/mkext4
#
# Sources come by apt, with lists and caches of their own: what is installed here is not touched. SUITES says where to look,
# in order; MIRROR where Debian is.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/../target/peers}
suites=${SUITES:-sid trixie}
mirror=${MIRROR:-http://deb.debian.org/debian}
mkdir -p "$out"
out=$(cd "$out" && pwd)

fetch() { # SUITE: e2fsprogs_*.dsc and its tar in $out/e2fsprogs
  local at=$out/apt-$1
  mkdir -p "$at/lists/partial" "$at/cache/archives/partial" "$out/e2fsprogs"
  printf 'Types: deb-src\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' \
    "$mirror" "$1" >"$at/debian.sources"
  local options=(-qq -o Dir::Etc::sourcelist="$at/debian.sources" -o Dir::Etc::sourceparts=/dev/null
    -o Dir::State::lists="$at/lists" -o Dir::Cache="$at/cache" -o APT::Sandbox::User=root)
  apt-get "${options[@]}" update || return 1
  # Mirrors may lack the upstream signature, which apt then calls a failure; what was fetched is checked below.
  (cd "$out/e2fsprogs" && rm -f ./*.dsc && apt-get "${options[@]}" source --download-only e2fsprogs) || true
  # The .dsc was checked by apt against the signed lists; the tar is checked against the .dsc.
  (cd "$out/e2fsprogs" && ls ./*.orig.tar.gz >/dev/null && sed -n '/^Checksums-Sha256:/,/^[^ ]/p' ./*.dsc |
    awk '/\.orig\.tar\.gz$/ { print $1 "  " $3 }' | sha256sum --check --quiet)
}

build() {
  local tar
  tar=$(cd "$out/e2fsprogs" && sed -n 's/.* \(e2fsprogs_.*\.orig\.tar\.gz\)$/\1/p' ./*.dsc | head -n 1)
  rm -rf "$out/e2fsprogs/src"
  # Joined, because nothing stops at an error where the whole is a condition. The source brings its own declarations of
  # libarchive, so no headers of it are needed; configure thinks otherwise.
  mkdir -p "$out/e2fsprogs/src/build" &&
    tar -C "$out/e2fsprogs/src" --strip-components=1 -xf "$out/e2fsprogs/$tar" &&
    cd "$out/e2fsprogs/src/build" &&
    ../configure --disable-nls --disable-uuidd --disable-fuse2fs CFLAGS='-O2 -DCONFIG_DLOPEN_LIBARCHIVE=1' >configure.log &&
    make -j"$(nproc)" libs >make.log 2>&1 &&
    make -j"$(nproc)" -C misc mke2fs >>make.log 2>&1 &&
    cp misc/mke2fs "$out/mke2fs"
}

for suite in $suites; do
  if fetch "$suite" && (build); then break; fi
  echo "peers: e2fsprogs of $suite cannot be had" >&2
done
[ -x "$out/mke2fs" ] || exit 1
"$out/mke2fs" -V

cargo build --quiet --release --manifest-path "$here/peers/mkext4/Cargo.toml" --target-dir "$out/cargo"
cp "$out/cargo/release/peer-mkext4" "$out/mkext4"
echo "mkext4 $(sed -n '/name = "mkext4"/{n;s/version = "\(.*\)"/\1/p}' "$here/peers/mkext4/Cargo.lock")"
