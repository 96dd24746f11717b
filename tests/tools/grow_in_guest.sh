#!/bin/sh
# grow_in_guest.sh: the only process (init=) of the guest of tests/growth.rs.
#
# Grows the root filesystem and that of every other NVMe disk, all of them
# mounted, to the size that their disks have by now (growpart, resize2fs), uses
# them heavily, reads back what this and earlier boots have written, prints
# ROOTVOL-GROWTH-OK on the serial console and powers off. The first thing that
# goes wrong is printed as "growth: FAILED ...", with the kernel's log.
#
# What it leaves in each filesystem, N counting the boots from 1:
#   grown-N/sums   MD5 sums of the files in grown-N
#   far-N          more than was free before growth, if there is so much: up to
#                  64 GiB, preallocated (in a filesystem without extents: a
#                  sparse file); its last MiB is a copy of grown-N/seed
PATH=/usr/sbin:/usr/bin:/sbin:/bin
# First of all: mount(8) keeps notes there.
mount -n -t tmpfs tmpfs /run
mount -t proc proc /proc
mount -t sysfs sys /sys
mountpoint -q /dev || mount -t devtmpfs dev /dev
mount -t tmpfs tmpfs /tmp
exec </dev/null >/dev/ttyS0 2>&1
echo

say() { echo "growth: $(cut -d' ' -f1 /proc/uptime) $*"; }
stop() {
  sync
  for disk in $disks; do umount "/run/$disk" 2>/dev/null; done
  mount -o remount,ro / || say "/ stays writable"
  echo o >/proc/sysrq-trigger
  sleep 30
}
fail() {
  say "FAILED $*"
  dmesg | tail -n 40
  stop
}
# What the kernel has to say against filesystems and disks (that the copy of the
# GPT is not at the end of an enlarged disk is expected).
complaints() { dmesg --level=emerg,alert,crit,err,warn | grep -iE 'ext[234]|jbd2|i/o error|nvme.*error'; }

# grow DISK PARTITION MOUNTPOINT
grow() {
  growpart "/dev/$1" "$2" || fail "growpart /dev/$1 $2: $?"
  resize2fs "/dev/$1p$2" || fail "resize2fs /dev/$1p$2: $?"
  say "$1 $(df -k --output=size,avail "$3" | tail -n 1) KiB"
}

# Many files in many directories, a part of them removed again, and far away blocks.
fill() {
  to=$1/grown-$2
  mkdir "$to" && cp /run/seed "$to/seed" || return 1
  for i in 1 2 3 4 5 6 7 8; do
    # Directories in the root directory are spread over the groups.
    mkdir "$1/spread-$i" && mv "$1/spread-$i" "$to/d$i" || return 1
    for j in 1 2; do
      dd if=/run/seed of="$to/d$i/f$j" bs=4k skip=$((i * j)) count=$((i + j * 16)) 2>/dev/null || return 1
    done
    j=0
    while [ $j -lt 60 ]; do echo "$i $j" >"$to/d$i/a file with a name that fills directories $j" || return 1; j=$((j + 1)); done
    cp /run/seed "$to/d$i/copy" && ln -s copy "$to/d$i/symlink" || return 1
  done
  rm -r "$to/d1" "$to/d4" || return 1
  (cd "$to" && find . -type f ! -name sums -exec md5sum {} +) >"$to/sums" || return 1
  bytes=$(($(stat -f -c '%a * %S' "$1/") / 4 * 3 / 1048576 * 1048576))
  [ $bytes -le $((64 << 30)) ] || bytes=$((64 << 30))
  fallocate -l $bytes "$1/far-$2" 2>/dev/null || truncate -s $bytes "$1/far-$2" || return 1
  dd if=/run/seed of="$1/far-$2" bs=1M seek=$((bytes / 1048576 - 1)) conv=notrunc 2>/dev/null || return 1
  sync
}

check() {
  for sums in "$1"/grown-*/sums; do
    at=${sums%/sums}
    (cd "$at" && md5sum --quiet -c sums) || return 1
    tail -c 1048576 "$1/far-${at##*-}" | cmp - "$at/seed" || return 1
  done
}

disk_of() { basename "$(dirname "$(readlink -f "/sys/dev/block/$(mountpoint -d "$1")")")"; }

dd if=/dev/urandom of=/run/seed bs=1M count=1 2>/dev/null
root=$(disk_of /)
part=$(cat "/sys/dev/block/$(mountpoint -d /)/partition")
disks=
for block in /sys/block/nvme*; do
  disk=${block##*/}
  # The paths below a multipath disk have no device.
  if [ -b "/dev/$disk" ] && [ "$disk" != "$root" ]; then disks="$disks $disk"; fi
done
n=1
while [ -e "/grown-$n" ]; do n=$((n + 1)); done
say "boot $n, kernel $(uname -r), root $root, others$disks"

for disk in $disks; do
  mkdir "/run/$disk" && mount -t ext4 "/dev/${disk}p1" "/run/$disk" || fail "mount $disk"
done
grow "$root" "$part" /
for disk in $disks; do grow "$disk" 1 "/run/$disk"; done
for at in / $(for disk in $disks; do echo "/run/$disk"; done); do
  fill "${at%/}" $n || fail "filling $at"
  say "filled $at"
done
echo 3 >/proc/sys/vm/drop_caches
for at in / $(for disk in $disks; do echo "/run/$disk"; done); do check "${at%/}" || fail "what is in $at"; done
say "all is as it was written"
for disk in $disks; do umount "/run/$disk" || fail "umount $disk"; done
mount -o remount,ro / || fail "remount of / read-only"
found=$(complaints) && fail "the kernel complains: $found"
disks=
say done
echo ROOTVOL-GROWTH-OK
stop
