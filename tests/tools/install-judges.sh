#!/bin/bash
# install-judges.sh
#
# Installs, on Debian 12 as root, every independent program that the tests use
# to judge images: e2fsck, debugfs, fsck.fat, mtools, sgdisk, sfdisk, qemu-img,
# QEMU with UEFI firmware for x86-64 and arm64, QEMU for single programs, grub-fstest, bsdtar, cpio, lz4, mmdebstrap, debootstrap,
# matchpathcon and setfiles with Debian's SELinux policy, shellcheck, and a Python environment with botocore, boto3, moto and awscli.
#
# Idempotent: what is there already is not touched. Fails when a judge is
# missing at the end.
#
# Environment:
#   ROOTVOL_LAB=   directory of the lab; the Python environment becomes
#                  $ROOTVOL_LAB/venv. Default: target/lab in this checkout.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
PATH=$PATH:/usr/sbin:/sbin

here=$(cd "$(dirname "$0")" && pwd)
lab=${ROOTVOL_LAB:-$here/../../target/lab}
mkdir -p "$lab"
lab=$(cd "$lab" && pwd)

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
say() { printf 'install-judges: %s\n' "$*" >&2; }
# Runs a command; its output is shown only when it fails.
quiet() {
  if ! "$@" >"$tmp/log" 2>&1; then
    say "failed: $*"
    tail -n 40 "$tmp/log" >&2
    return 1
  fi
}
missing() {
  local p
  for p in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null || true)" = installed ] || printf '%s\n' "$p"
  done
}

# --- Debian packages
plain=(strace valgrind e2fsprogs dosfstools mtools gdisk fdisk attr acl libarchive-tools tar xz-utils zstd gzip cpio lz4 bzip2
       mmdebstrap debootstrap busybox-static grub-common binutils ca-certificates openssl gcc g++ libc6-dev
       python3 python3-venv util-linux mount shellcheck
       selinux-utils policycoreutils selinux-policy-default)
# QEMU has to come from one suite: mixing bookworm and bookworm-backports would
# make apt remove an installed newer qemu-utils.
qemu=(qemu-utils qemu-user qemu-system-x86 ovmf qemu-system-arm qemu-efi-aarch64)

mapfile -t want_plain < <(missing "${plain[@]}")
mapfile -t want_qemu < <(missing "${qemu[@]}")
if [ $(( ${#want_plain[@]} + ${#want_qemu[@]} )) -gt 0 ]; then
  [ "$(id -u)" = 0 ] || { say "needs root to install: ${want_plain[*]} ${want_qemu[*]}"; exit 1; }
  # shellcheck disable=SC1091
  codename=$(. /etc/os-release && printf %s "${VERSION_CODENAME:-bookworm}")
  # The backports suite is added in a private copy of the source list only.
  mkdir "$tmp/sources"
  if [ -d /etc/apt/sources.list.d ]; then
    find /etc/apt/sources.list.d -maxdepth 1 -type f \( -name '*.list' -o -name '*.sources' \) -exec cp -t "$tmp/sources" {} +
  fi
  printf 'deb http://deb.debian.org/debian %s-backports main\n' "$codename" >"$tmp/sources/rootvol-backports.list"
  chmod -R a+rX "$tmp"
  apt=(apt-get -qq -y -o "Dir::Etc::sourceparts=$tmp/sources" -o Acquire::Languages=none -o Acquire::Retries=3
       -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300)
  install=("${apt[@]}" install --no-install-recommends --no-remove)
  suite=(-t "$codename-backports")
  quiet "${apt[@]}" update || say "apt-get update had errors, going on"
  if ! "${apt[@]}" -s "${suite[@]}" install e2fsprogs >/dev/null 2>&1; then
    say "no $codename-backports here: using $codename alone"
    suite=()
  fi
  if [ ${#want_plain[@]} -gt 0 ]; then
    say "installing ${want_plain[*]}"
    quiet "${install[@]}" "${want_plain[@]}"
  fi
  if [ ${#want_qemu[@]} -gt 0 ]; then
    say "installing ${want_qemu[*]} ${suite[*]}"
    quiet "${install[@]}" "${suite[@]}" "${want_qemu[@]}"
  fi
fi

# --- Python: the AWS API models
venv=$lab/venv
if ! "$venv/bin/python" -c 'import botocore, boto3, moto, pyvhdi' 2>/dev/null || ! "$venv/bin/aws" --version >/dev/null 2>&1; then
  say "making the Python environment"
  rm -rf "$venv"
  quiet /usr/bin/python3 -m venv "$venv"
  quiet "$venv/bin/pip" --disable-pip-version-check -q install botocore awscli libvhdi-python boto3 moto
fi

# --- Is everything there?
bad=0
for c in strace valgrind mke2fs e2fsck debugfs dumpe2fs tune2fs resize2fs mkfs.fat fsck.fat mcopy mdir minfo sgdisk sfdisk fdisk \
         qemu-img qemu-io qemu-x86_64 qemu-aarch64 qemu-system-x86_64 qemu-system-aarch64 getfattr setfattr getfacl setfacl bsdtar tar xz zstd gzip cpio lz4 bzip2 \
         mmdebstrap debootstrap busybox grub-fstest matchpathcon setfiles python3 losetup mount blkid shellcheck objcopy openssl cc cargo rustc; do
  command -v "$c" >/dev/null || { say "MISSING: command $c"; bad=1; }
done
for f in /usr/share/OVMF/OVMF_CODE_4M.fd /usr/share/OVMF/OVMF_VARS_4M.fd \
         /usr/share/OVMF/OVMF_CODE_4M.secboot.fd /usr/share/OVMF/OVMF_VARS_4M.ms.fd \
         /usr/share/AAVMF/AAVMF_CODE.fd /usr/share/AAVMF/AAVMF_VARS.fd; do
  [ -r "$f" ] || { say "MISSING: firmware $f"; bad=1; }
done
[ -r /etc/selinux/default/contexts/files/file_contexts ] || { say "MISSING: the SELinux policy of selinux-policy-default"; bad=1; }
"$venv/bin/python" -c 'import botocore, boto3, moto, pyvhdi' || { say "MISSING: botocore, boto3, moto or pyvhdi in $venv"; bad=1; }
"$venv/bin/aws" --version >/dev/null || { say "MISSING: aws in $venv"; bad=1; }
[ "$bad" = 0 ] || exit 1
say "all judges are there; Python environment in $venv"
