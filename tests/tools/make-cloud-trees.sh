#!/bin/bash
# make-cloud-trees.sh OUTDIR
#
# Makes the whole trees that lint is tried on.
#   OUTDIR/cloud.tar        a freshly built cloud image of Debian 12 by mmdebstrap: cloud kernel and initrd, signed shim and GRUB,
#                           cloud-init, sshd, growpart, netplan and systemd-networkd; cleaned as such images are
#   OUTDIR/debootstrap.tar  Debian 12 as debootstrap leaves it, with sshd, the generic kernel and GRUB for BIOS: not cleaned
# A tar that is newer than this script is left alone. Needs root, mmdebstrap, debootstrap and a Debian mirror.
#
# Environment: DEBIAN_MIRROR=http://deb.debian.org/debian
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
export LC_ALL=C.UTF-8 SOURCE_DATE_EPOCH=1700000000 DEBIAN_FRONTEND=noninteractive
[ $# -eq 1 ] || { sed -n '2,/^set -eu/p' "$0" | sed '$d; s/^# \{0,1\}//' >&2; exit 2; }
out=$1
mkdir -p "$out"
[ "$(id -u)" = 0 ] || { echo "make-cloud-trees: needs root" >&2; exit 1; }
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"; rm -f "$out"/*.tar.tmp' EXIT

# Take over what the machine's own apt is told about dates and proxies.
opts=()
while read -r line; do opts+=(--aptopt="${line%;}"); done < <(
  apt-config dump | grep -E '^Acquire::(Check-Valid-Until|Check-Date|http::Proxy|https::Proxy) ' || true)

cloud() {
  mmdebstrap --mode=root --format=tar --architectures=amd64 --variant=important "${opts[@]}" --aptopt='Acquire::Retries "3"' \
    --include=systemd,systemd-sysv,udev,dbus,kmod,e2fsprogs,dosfstools,zstd,ca-certificates,sudo \
    --include=linux-image-cloud-amd64,initramfs-tools,shim-signed,grub-efi-amd64-signed \
    --include=cloud-init,cloud-guest-utils,cloud-initramfs-growroot,openssh-server,netplan.io,systemd-resolved,ssh-import-id \
    --customize-hook='printf "localhost\n" >"$1/etc/hostname"; : >"$1/etc/machine-id"; rm -f "$1"/etc/ssh/ssh_host_* "$1"/var/lib/dbus/machine-id' \
    --customize-hook='printf "network: {version: 2, ethernets: {all: {match: {name: \"e*\"}, dhcp4: true, dhcp6: true}}}\n" >"$1/etc/netplan/90-default.yaml"; chmod 600 "$1/etc/netplan/90-default.yaml"' \
    --customize-hook='mkdir -p "$1/etc/default/grub.d"; printf "GRUB_CMDLINE_LINUX=\"console=tty0 console=ttyS0,115200\"\n" >"$1/etc/default/grub.d/10-cloud.cfg"' \
    --customize-hook='chroot "$1" systemctl enable systemd-networkd fstrim.timer' \
    --customize-hook='chroot "$1" passwd -l root' \
    --customize-hook='rm -rf "$1"/etc/resolv.conf "$1"/var/log/*.log "$1"/var/log/apt/* "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/* "$1"/tmp/*' \
    bookworm "$1" "deb $mirror bookworm main" >"$tmp/log" 2>&1
}

plain() {
  debootstrap --include=linux-image-amd64,openssh-server,grub-pc-bin,initramfs-tools bookworm "$tmp/root" "$mirror" >"$tmp/log" 2>&1
  tar --numeric-owner --xattrs --sort=name -C "$tmp/root" -cf "$1" .
}

for tree in cloud:cloud debootstrap:plain; do
  tar=$out/${tree%%:*}.tar
  if [ "$tar" -nt "$0" ]; then
    echo "make-cloud-trees: $tar is there" >&2
    continue
  fi
  t0=$(date +%s)
  "${tree##*:}" "$tar.tmp" || { tail -n 40 "$tmp/log" >&2; echo "make-cloud-trees: ${tree%%:*} failed" >&2; exit 1; }
  mv "$tar.tmp" "$tar"
  echo "make-cloud-trees: $tar, $(($(stat -c %s "$tar") / 1048576)) MiB, $(($(date +%s) - t0)) s" >&2
done
