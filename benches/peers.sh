#!/bin/bash
# benches/peers.sh [--install] [OUT]: gets what the benches compare with into OUT (default: target/peers).
#
#   OUT/mke2fs    of the newest e2fsprogs that Debian has (1.47.2 or newer: earlier ones take no tar), built from source.
#                 libarchive is loaded when a tar is read (Debian: libarchive13 or libarchive13t64).
#   OUT/mkext4    the crate mkext4 (crates.io) behind a small command: benches/peers/mkext4
#   OUT/ext4view  the crate ext4-view behind a small command: benches/peers/ext4view
#   OUT/tools     blocks hashed as uploaders do, and files read with nothing else done: benches/peers/tools
#   OUT/tar2ext4  of hcsshim, by `go install`, where there is Go and its module proxy can be reached (no Debian package has it);
#                 TAR2EXT4 names the version. go-diskfs is a library that no package has as a program: it is left out.
#
# The rest comes as Debian packages, which --install installs (as root) and which are named otherwise. Sources come by apt,
# with lists and caches of their own: what is installed here is not touched. SUITES says where to look, in order; MIRROR where
# Debian is.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
install=
if [ "${1:-}" = --install ]; then install=1; shift; fi
out=${1:-$here/../target/peers}
tar2ext4=${TAR2EXT4:-v0.9.10} # the newest that Go 1.19, Debian 12's, builds
packages=(build-essential dosfstools mtools fdisk gdisk e2fsprogs qemu-utils genext2fs systemd openssl zstd golang-go libarchive13 valgrind)
suites=${SUITES:-sid trixie}
mirror=${MIRROR:-http://deb.debian.org/debian}
mkdir -p "$out"
out=$(cd "$out" && pwd)

lacking=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q ' installed$' || lacking+=("$package")
done
if [ ${#lacking[@]} -gt 0 ] && [ -n "$install" ]; then
  apt-get update -qq && apt-get install -qq -y --no-install-recommends "${lacking[@]}"
elif [ ${#lacking[@]} -gt 0 ]; then
  echo "peers: not installed (--install does it): ${lacking[*]}" >&2
fi

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

for peer in mkext4 tools ext4view; do
  cargo build --quiet --release --manifest-path "$here/peers/$peer/Cargo.toml" --target-dir "$out/cargo"
  cp "$out/cargo/release/peer-$peer" "$out/$peer"
  echo "$peer: $(sed -n '/name = "\(mkext4\|ring\)"/{N;s/name = "\(.*\)"\nversion = "\(.*\)"/\1 \2/p}' "$here/peers/$peer/Cargo.lock")"
done

if ! command -v go >/dev/null; then
  echo "SKIPPED: tar2ext4, without go"
elif GOPATH="$out/go" GOFLAGS=-modcacherw go install "github.com/Microsoft/hcsshim/cmd/tar2ext4@$tar2ext4" 2>"$out/tar2ext4.log"; then
  cp "$out/go/bin/tar2ext4" "$out/tar2ext4"
  echo "tar2ext4 $tar2ext4"
else
  echo "SKIPPED: tar2ext4: $(tail -n 1 "$out/tar2ext4.log")"
fi
