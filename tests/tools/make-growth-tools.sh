#!/bin/bash
# make-growth-tools.sh OUTDIR
#
# Makes OUTDIR/growth-tools.tar: growpart and what it needs beyond the tree of
# make-debian-tree.sh (sfdisk and its libraries), to be laid over that tree.
# The files come from the packages cloud-guest-utils, fdisk, libfdisk1 and
# libreadline8 of the Debian 12 that this runs on, unpacked with dpkg-deb -x:
# nothing is installed, and Python, which growpart does not use, stays out.
# resize2fs and systemd-growfs are in the Debian tree already.
#
# A tar that is newer than this script is left alone. Needs apt-get and a Debian
# mirror; root only where the machine's package lists have to be renewed.
set -euo pipefail
export LC_ALL=C.UTF-8
usage() { sed -n '2,/^set -eu/p' "$0" | sed '$d; s/^# \{0,1\}//' >&2; exit 2; }
[ $# -eq 1 ] || usage
mkdir -p "$1"
tar=$1/growth-tools.tar
if [ "$tar" -nt "$0" ]; then
  echo "make-growth-tools: $tar is there" >&2
  exit 0
fi

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"; rm -f "$tar.tmp"' EXIT
# As root, apt downloads as the user _apt, who has to reach the folder.
mkdir "$tmp/debs" "$tmp/all" "$tmp/tree"
chmod 755 "$tmp"
if [ "$(id -u)" = 0 ] && id _apt >/dev/null 2>&1; then chown _apt "$tmp/debs"; fi
arch=amd64
download() {
  (cd "$tmp/debs" && apt-get -qq -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 download \
    cloud-guest-utils "fdisk:$arch" "libfdisk1:$arch" "libreadline8:$arch") >"$tmp/log" 2>&1
}
# The machine's package lists may be missing, or older than the mirror.
if ! download && ! { [ "$(id -u)" = 0 ] && apt-get -qq update >"$tmp/log" 2>&1 && download; }; then
  tail -n 20 "$tmp/log" >&2
  echo "make-growth-tools: the packages cannot be had (apt-get update?)" >&2
  exit 1
fi
for deb in "$tmp"/debs/*.deb; do dpkg-deb -x "$deb" "$tmp/all"; done

# As a merged /usr has them: the tree's /sbin and /lib are symbolic links.
lib=usr/lib/x86_64-linux-gnu
mkdir -p "$tmp/tree/usr/bin" "$tmp/tree/usr/sbin" "$tmp/tree/$lib"
take() { # TARGET PATTERN
  local found
  found=$(find "$tmp/all" \( -type f -o -type l \) -path "$tmp/all/$2")
  [ -n "$found" ] || { echo "make-growth-tools: nothing like $2 in the packages" >&2; exit 1; }
  # shellcheck disable=SC2086
  cp -a $found "$tmp/tree/$1/"
}
take usr/bin '*bin/growpart'
take usr/sbin '*sbin/sfdisk'
take "$lib" '*/libfdisk.so.*'
take "$lib" '*/libreadline.so.*'
tar --create --format=pax --sort=name --owner=0 --group=0 --numeric-owner --mtime=@1700000000 \
  --pax-option=delete=atime,delete=ctime --file "$tar.tmp" --directory "$tmp/tree" ./usr
mv "$tar.tmp" "$tar"
echo "make-growth-tools: $tar, $(($(stat -c %s "$tar") / 1024)) KiB" >&2
