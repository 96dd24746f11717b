#!/bin/bash
# make-debian-tree.sh [--arm64] OUTDIR
#
# Makes the root filesystems that the boot tests put into images.
#   OUTDIR/debian.tar        Debian 12 amd64: systemd, the cloud kernel and an
#                            initrd, signed shim and GRUB, systemd-boot.
#   OUTDIR/debian-arm64.tar  (--arm64) Debian 12 arm64, only unpacked (no arm64
#                            program is run): cloud kernel, signed shim and
#                            GRUB, systemd-boot, a static busybox as init.
# A tar that is newer than this script is left alone. Needs root, mmdebstrap
# and a Debian mirror.
#
# What the guests print on the serial console (ttyS0, arm64: ttyAMA0), one
# finding per line as "rootvol: KEY VALUE", then ROOTVOL-BOOT-OK, then power
# off. Keys: kernel, cmdline, root, efi, efidir, secureboot, size, failed,
# failedunit, klog. With the word rootvol.heavy on the kernel command line, or
# a file /etc/rootvol-heavy, the guest then writes about 100 MiB in many files,
# removes some, reads the rest back and prints ROOTVOL-HEAVY-OK. An executable
# /etc/rootvol-extra is run before the first marker (its output goes to the
# console; "rootvol: extra STATUS").
#
# Environment: DEBIAN_MIRROR=http://deb.debian.org/debian
#              DEBIAN_SECURITY=http://deb.debian.org/debian-security
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
export LC_ALL=C.UTF-8
usage() { sed -n '2,/^set -eu/p' "$0" | sed '$d; s/^# \{0,1\}//' >&2; exit 2; }
arch=amd64
if [ "${1:-}" = --arm64 ]; then arch=arm64; shift; fi
[ $# -eq 1 ] || usage
out=$1
mkdir -p "$out"
case $arch in amd64) tar=$out/debian.tar ;; arm64) tar=$out/debian-arm64.tar ;; esac
if [ "$tar" -nt "$0" ]; then
  echo "make-debian-tree: $tar is there" >&2
  exit 0
fi
[ "$(id -u)" = 0 ] || { echo "make-debian-tree: needs root" >&2; exit 1; }
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
security=${DEBIAN_SECURITY:-http://deb.debian.org/debian-security}
export SOURCE_DATE_EPOCH=1700000000

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"; rm -f "$tar.tmp"' EXIT
mkdir "$tmp/overlay"
o=$tmp/overlay

opts=(--mode=root --format=tar --architectures="$arch" --aptopt='Acquire::Retries "3"' --aptopt='Acquire::Languages "none"')
# Take over what the machine's own apt is told about dates and proxies.
while read -r line; do opts+=(--aptopt="${line%;}"); done < <(
  apt-config dump | grep -E '^Acquire::(Check-Valid-Until|Check-Date|http::Proxy|https::Proxy) ' || true)

write_amd64() {
  mkdir -p "$o/etc/systemd/system/multi-user.target.wants" "$o/usr/local/sbin" "$o/boot/efi"
  printf 'rootvol\n' >"$o/etc/hostname"
  printf '127.0.0.1 localhost rootvol\n' >"$o/etc/hosts"
  : >"$o/etc/machine-id"
  : >"$o/etc/fstab"
  # A getty would hang up the console under the marker.
  local u
  for u in serial-getty@ttyS0.service getty@tty1.service systemd-firstboot.service; do
    ln -s /dev/null "$o/etc/systemd/system/$u"
  done
  cat >"$o/etc/systemd/system/rootvol-marker.service" <<'UNIT'
[Unit]
Description=Report on the serial console and power off
After=multi-user.target local-fs.target

[Service]
Type=oneshot
ExecStart=/usr/local/sbin/rootvol-marker
TimeoutStartSec=600

[Install]
WantedBy=multi-user.target
UNIT
  ln -s ../rootvol-marker.service "$o/etc/systemd/system/multi-user.target.wants/rootvol-marker.service"
  cat >"$o/usr/local/sbin/rootvol-marker" <<'SCRIPT'
#!/bin/sh
# Reports what a boot test wants to know, then powers off.
exec >/dev/ttyS0 2>&1
say() { printf 'rootvol: %s\n' "$*"; }
heavy() {
  d=/var/tmp/rootvol-heavy
  mkdir -p $d || return 1
  # 4 MiB of random data, written over and over under other names.
  dd if=/dev/urandom of=$d/seed bs=1M count=4 2>/dev/null || return 1
  for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
    mkdir $d/d$i || return 1
    for j in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
      dd if=$d/seed of=$d/d$i/f$j bs=4k skip=$((i * j)) count=$((i + j * 8)) 2>/dev/null || return 1
      : >$d/d$i/empty$j
      ln -s f$j $d/d$i/link$j
    done
    cp $d/seed $d/d$i/copy || return 1
    (cd $d && sha256sum d$i/f* d$i/copy) >>$d/sums || return 1
  done
  rm -rf $d/d1 $d/d4 $d/d7 || return 1
  sync
  for i in 2 3; do cp -r $d/d$i $d/again$i || return 1; done
  sync
  echo 3 >/proc/sys/vm/drop_caches
  grep -v -e ' d1/' -e ' d4/' -e ' d7/' $d/sums >$d/sums2
  (cd $d && sha256sum --quiet -c sums2) || return 1
  say "heavy $(du -sm $d | cut -f1) MiB, $(find $d | wc -l) entries"
  rm -rf $d/d5 $d/again2
  sync
}
echo
say "kernel $(uname -r)"
say "cmdline $(cat /proc/cmdline)"
say "root $(findmnt -no SOURCE,FSTYPE,OPTIONS /)"
say "size $(stat -f -c '%S %b %f' /)"
# Listing it first: /boot/efi may be an automount point.
say "efidir $(ls /boot/efi 2>/dev/null | tr '\n' ' ')"
say "efi $(findmnt -t vfat -no SOURCE,FSTYPE,OPTIONS /boot/efi || echo none)"
v=$(echo /sys/firmware/efi/efivars/SecureBoot-*)
if [ -r "$v" ]; then say "secureboot $(od -An -tu1 -j4 -N1 "$v" | tr -d ' ')"; else say "secureboot unknown"; fi
say "failed $(systemctl --failed --no-legend --plain | wc -l)"
systemctl --failed --no-legend --plain | while read -r u rest; do say "failedunit $u"; done
# Complaints of the kernel about filesystems and disks (level warning or worse).
dmesg --level=emerg,alert,crit,err,warn | grep -iE 'ext4|fat|gpt|nvme.*p[0-9]|i/o error' | while read -r l; do say "klog $l"; done
if [ -x /etc/rootvol-extra ]; then /etc/rootvol-extra; say "extra $?"; fi
echo ROOTVOL-BOOT-OK
if [ -e /etc/rootvol-heavy ] || grep -qw rootvol.heavy /proc/cmdline; then
  if heavy; then
    dmesg --level=emerg,alert,crit,err,warn | grep -iE 'ext4|i/o error' | while read -r l; do say "klog $l"; done
    echo ROOTVOL-HEAVY-OK
  else
    echo ROOTVOL-HEAVY-FAILED
  fi
fi
systemctl --no-block poweroff
SCRIPT
  chmod 755 "$o/usr/local/sbin/rootvol-marker"
}

write_arm64() {
  mkdir -p "$o/sbin" "$o/etc" "$o/proc" "$o/sys" "$o/dev" "$o/boot/efi"
  printf 'rootvol\n' >"$o/etc/hostname"
  cat >"$o/sbin/init" <<'SCRIPT'
#!/bin/busybox sh
# The only process of the arm64 guest: reports and powers off.
B=/bin/busybox
$B mount -t proc proc /proc
$B mount -t sysfs sys /sys
$B mountpoint -q /dev || $B mount -t devtmpfs dev /dev
exec </dev/null >/dev/ttyAMA0 2>&1
echo
echo "rootvol: kernel $($B uname -rm)"
echo "rootvol: cmdline $($B cat /proc/cmdline)"
echo "rootvol: root $($B grep ' / ' /proc/mounts)"
$B insmod /lib/modules/*/kernel/fs/efivarfs/efivarfs.ko
$B mount -t efivarfs efivarfs /sys/firmware/efi/efivars
v=$(echo /sys/firmware/efi/efivars/SecureBoot-*)
if [ -r "$v" ]; then echo "rootvol: secureboot $($B tail -c 1 "$v" | $B od -An -tu1 | $B tr -d ' ')"; else echo "rootvol: secureboot unknown"; fi
$B dmesg -r | $B grep -E '^<[0-4]>' | $B grep -iE 'ext4|gpt|i/o error' | while read -r l; do echo "rootvol: klog $l"; done
echo ROOTVOL-BOOT-OK
$B sync
$B mount -o remount,ro /
$B poweroff -f
SCRIPT
  chmod 755 "$o/sbin/init"
}

if [ "$arch" = amd64 ]; then
  write_amd64
  opts+=(--variant=essential
    --include=systemd,systemd-sysv,udev,dbus,kmod,e2fsprogs,dosfstools,zstd
    --include=linux-image-cloud-amd64,initramfs-tools,shim-signed,grub-efi-amd64-signed,systemd-boot-efi
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*'
    --dpkgopt='path-exclude=/usr/share/info/*' --dpkgopt='path-exclude=/usr/share/locale/*'
    --dpkgopt='path-exclude=/usr/share/i18n/*'
    # shellcheck disable=SC2016
    --customize-hook="cp -a --remove-destination '$o/.' \"\$1\"; chown -R 0:0 \"\$1/usr/local\""
    # Attributes and links that an image builder has to keep.
    --customize-hook='mkdir -p "$1/opt/rootvol" && cd "$1/opt/rootvol" && echo data >file && ln file hardlink &&
      truncate -s 1M sparse && printf tail >>sparse && ln -s ../../etc/hostname symlink && mkfifo fifo &&
      mkdir -m 1777 sticky && cp file capable && setfattr -n user.rootvol -v value file &&
      setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 capable &&
      cp file acl && setfacl -m u:1234:rw acl && mkdir acldir && setfacl -d -m g:4321:rx acldir'
    --customize-hook='rm -f "$1/etc/resolv.conf" "$1"/var/log/*.log "$1"/var/log/apt/* "$1"/var/cache/debconf/*-old "$1"/var/lib/dpkg/*-old')
else
  write_arm64
  # This variant runs no customize hooks.
  opts+=(--variant=extract
    --include=linux-image-cloud-arm64,systemd-boot-efi,shim-signed,grub-efi-arm64-signed,busybox-static
    --extract-hook="cp -a --remove-destination '$o/.' \"\$1\""
    --extract-hook='rm -rf "$1"/usr/share/doc "$1"/usr/share/man "$1"/usr/share/locale "$1"/usr/share/info "$1/etc/resolv.conf"')
fi

t0=$(date +%s)
if ! mmdebstrap "${opts[@]}" bookworm "$tar.tmp" \
    "deb $mirror bookworm main" "deb $security bookworm-security main" >"$tmp/log" 2>&1; then
  tail -n 40 "$tmp/log" >&2
  echo "make-debian-tree: mmdebstrap failed" >&2
  exit 1
fi

# --- Is everything in it?
tar -tf "$tar.tmp" | sed 's|^\./||' >"$tmp/list"
need=('boot/vmlinuz-.*' 'usr/lib/systemd/boot/efi/systemd-boot(x64|aa64)\.efi' 'usr/lib/shim/shim(x64|aa64)\.efi\.signed' 'boot/efi/')
case $arch in
  amd64) need+=('boot/initrd\.img-.*' 'usr/lib/grub/x86_64-efi-signed/grubx64\.efi\.signed' 'usr/local/sbin/rootvol-marker') ;;
  arm64) need+=('usr/lib/grub/arm64-efi-signed/grubaa64\.efi\.signed' '(usr/)?sbin/init' '(usr/)?bin/busybox') ;;
esac
for n in "${need[@]}"; do
  grep -qxE "$n" "$tmp/list" || { echo "make-debian-tree: nothing like $n in the tree" >&2; exit 1; }
done
mv "$tar.tmp" "$tar"
echo "make-debian-tree: $tar, $(($(stat -c %s "$tar") / 1048576)) MiB, $(wc -l <"$tmp/list") entries, $(($(date +%s) - t0)) s" >&2
