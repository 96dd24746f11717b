#!/bin/bash
# boot_image.sh IMAGE FORMAT [bios|uefi] MARKER
#
# Boots a disk image headless in QEMU, waits until MARKER (a fixed string)
# appears on the serial console, and exits 0; exits 1 when it does not appear
# (timeout, kernel panic, firmware found nothing to boot, QEMU ended); exits 2
# on wrong use or missing tools. The image is never written (QEMU -snapshot).
# Only the QEMU that this script started is stopped.
#
#   FORMAT   raw | qcow2 | vpc (alias vhd) | vhdx | vmdk
#   MARKER   e.g. 'login:' or the text a systemd unit echoes to /dev/ttyS0.
#            The image's kernel command line needs console=ttyS0.
# Environment (all optional):
#   TIMEOUT=180      seconds to wait for MARKER
#   MEM=512          guest MiB          SMP=1   vCPUs
#   DISK=nvme        nvme | virtio | ide   (EC2 Nitro = nvme)
#   ACCEL=           tcg | kvm; default: kvm only if CPU really has vmx/svm
#                    (a /dev/kvm backed by KVM_PVM opens, and then hangs)
#   CPU=             QEMU -cpu model (default: max under tcg, host under kvm)
#   SERIAL_LOG=      keep the serial log at this path
#   WAIT_POWEROFF=0  1: after MARKER, also require that the guest powers off
#                    by itself within TIMEOUT
#   SECOND_DISK=     path of an extra raw disk (read as virtio-blk)
#   SSH_PORT=        with a number: user-mode NIC, 127.0.0.1:SSH_PORT -> guest 22
#                    (restrict=on: guest can reach nothing outside)
#   ON_MARKER=       command run (bash -c) once MARKER is seen, guest still up;
#                    its status decides the exit status
#   WRITE=0          1: write to the image itself (no -snapshot)
#   ARCH=x86_64      x86_64 | aarch64 (UEFI only; console=ttyAMA0; no ide)
#   SECURE_BOOT=0    1: UEFI Secure Boot enforced, with Microsoft's keys
#                    enrolled (x86_64 only)
#   OVMF_CODE= OVMF_VARS=   firmware files
#   QEMU=            QEMU program, default qemu-system-$ARCH
#   QEMU_EXTRA=      extra QEMU arguments (word-split)
# Debian 12 packages: qemu-system-x86 ovmf (seabios comes with it); for aarch64
# qemu-system-arm qemu-efi-aarch64.
set -u
usage() { sed -n '2,/^set -u/p' "$0" | sed '$d; s/^# \{0,1\}//' >&2; exit 2; }
[ $# -eq 3 ] || [ $# -eq 4 ] || usage
IMAGE=$1; FORMAT=$2
if [ $# -eq 4 ]; then FW=$3; MARKER=$4; else FW=uefi; MARKER=$3; fi
case $FORMAT in raw|qcow2|vpc|vhdx|vmdk) ;; vhd) FORMAT=vpc ;; *) usage ;; esac
case $FW in bios|uefi) ;; *) usage ;; esac
[ -n "$MARKER" ] || usage
[ -r "$IMAGE" ] || { echo "boot_image: cannot read $IMAGE" >&2; exit 2; }
ARCH=${ARCH:-x86_64}; SECURE_BOOT=${SECURE_BOOT:-0}
case $ARCH in x86_64|aarch64) ;; *) usage ;; esac
[ "$FW" = uefi ] || { [ "$ARCH" = x86_64 ] && [ "$SECURE_BOOT" = 0 ]; } || { echo "boot_image: aarch64 and Secure Boot need uefi" >&2; exit 2; }
[ "$SECURE_BOOT" = 0 ] || [ "$ARCH" = x86_64 ] || { echo "boot_image: SECURE_BOOT is for x86_64 only" >&2; exit 2; }
QEMU=${QEMU:-qemu-system-$ARCH}
command -v "$QEMU" >/dev/null || { echo "boot_image: $QEMU not installed" >&2; exit 2; }
TIMEOUT=${TIMEOUT:-180}; MEM=${MEM:-512}; SMP=${SMP:-1}; DISK=${DISK:-nvme}

if [ -z "${ACCEL:-}" ]; then
  ACCEL=tcg
  if [ -w /dev/kvm ] && [ "$ARCH" = x86_64 ] && grep -qwE 'vmx|svm' /proc/cpuinfo; then ACCEL=kvm; fi
fi
if [ -z "${CPU:-}" ]; then
  CPU=max
  # Full pointer authentication is very slow to emulate.
  [ "$ARCH" = aarch64 ] && CPU=max,pauth-impdef=on
  [ "$ACCEL" = kvm ] && CPU=host
fi

W=$(mktemp -d "${TMPDIR:-/tmp}/boot_image.XXXXXX") || exit 2
QPID=
cleanup() {
  if [ -n "$QPID" ] && kill -0 "$QPID" 2>/dev/null; then
    kill -TERM "$QPID" 2>/dev/null
    for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$QPID" 2>/dev/null || break; sleep 0.2; done
    kill -KILL "$QPID" 2>/dev/null
  fi
  rm -rf "$W"
}
trap cleanup EXIT
trap 'exit 1' INT TERM HUP
LOG=${SERIAL_LOG:-$W/serial.log}; : > "$LOG"

MACHINE=q35,graphics=off
[ "$SECURE_BOOT" = 1 ] && MACHINE=$MACHINE,smm=on
[ "$ARCH" = aarch64 ] && MACHINE=virt
A=(-accel "$ACCEL" -cpu "$CPU" -M "$MACHINE" -m "$MEM" -smp "$SMP"
   -nodefaults -display none -monitor none -no-reboot
   -chardev "file,id=ser0,path=$LOG" -serial chardev:ser0
   -device virtio-rng-pci)
if [ "$FW" = uefi ]; then
  CODE=${OVMF_CODE:-}; VARS=${OVMF_VARS:-}
  if [ "$ARCH" = aarch64 ]; then
    PAIRS=(AAVMF_CODE.fd:AAVMF_VARS.fd QEMU_EFI-pflash.raw:vars-template-pflash.raw)
  elif [ "$SECURE_BOOT" = 1 ]; then
    PAIRS=(OVMF_CODE_4M.secboot.fd:OVMF_VARS_4M.ms.fd OVMF_CODE.secboot.fd:OVMF_VARS.ms.fd)
    # Only code in system management mode may write the variable store.
    A+=(-global driver=cfi.pflash01,property=secure,value=on -global ICH9-LPC.disable_s3=1)
  else
    PAIRS=(OVMF_CODE_4M.fd:OVMF_VARS_4M.fd OVMF_CODE.4m.fd:OVMF_VARS.4m.fd OVMF_CODE.fd:OVMF_VARS.fd)
  fi
  if [ -z "$CODE" ]; then
    for d in /usr/share/OVMF /usr/share/AAVMF /usr/share/edk2/x64 /usr/share/edk2/ovmf /usr/share/edk2/aarch64; do
      for p in "${PAIRS[@]}"; do
        [ -r "$d/${p%%:*}" ] && { CODE=$d/${p%%:*}; VARS=${VARS:-$d/${p##*:}}; break 2; }
      done
    done
  fi
  [ -r "$CODE" ] && [ -r "$VARS" ] || { echo "boot_image: no firmware ${PAIRS[0]} (Debian packages: ovmf, qemu-efi-aarch64)" >&2; exit 2; }
  cp "$VARS" "$W/vars.fd" && chmod u+w "$W/vars.fd" || exit 2
  A+=(-drive "if=pflash,unit=0,format=raw,readonly=on,file=$CODE"
      -drive "if=pflash,unit=1,format=raw,file=$W/vars.fd")
fi
SNAP=on; [ "${WRITE:-0}" = 1 ] && SNAP=off
A+=(-drive "if=none,id=d0,format=$FORMAT,snapshot=$SNAP,cache=unsafe,file=${IMAGE//,/,,}")
case $DISK in
  nvme)   A+=(-device nvme,drive=d0,serial=vol00000000000000001,bootindex=0) ;;
  virtio) A+=(-device virtio-blk-pci,drive=d0,bootindex=0) ;;
  ide)    A+=(-device ide-hd,drive=d0,bootindex=0) ;;
  *) usage ;;
esac
if [ -n "${SECOND_DISK:-}" ]; then
  A+=(-drive "if=none,id=d1,format=raw,snapshot=on,file=${SECOND_DISK//,/,,}" -device virtio-blk-pci,drive=d1)
fi
if [ -n "${SSH_PORT:-}" ]; then
  A+=(-netdev "user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:$SSH_PORT-:22" -device virtio-net-pci,netdev=n0,romfile=)
fi
# shellcheck disable=SC2206
A+=(${QEMU_EXTRA:-})

now() { date +%s%N; }
T0=$(now)
secs() { local d=$(( ($(now) - T0) / 10000000 )); printf '%d.%02d' $((d/100)) $((d%100)); }
"$QEMU" "${A[@]}" </dev/null >"$W/qemu.log" 2>&1 &
QPID=$!
fail() {
  echo "boot_image: FAIL after $(secs)s: $1 (arch=$ARCH accel=$ACCEL fw=$FW secureboot=$SECURE_BOOT disk=$DISK format=$FORMAT)" >&2
  [ -s "$W/qemu.log" ] && { echo "--- qemu said:" >&2; tail -n 5 "$W/qemu.log" >&2; }
  echo "--- last serial lines:" >&2
  tail -n 25 "$LOG" | tr -d '\r' | sed 's/\x1b\[[0-9;?]*[a-zA-Z]//g' >&2
  exit 1
}
seen() { grep -qaF -- "$MARKER" "$LOG"; }
deadline=$(( $(date +%s) + TIMEOUT ))
while :; do
  seen && break
  if ! kill -0 "$QPID" 2>/dev/null; then seen && break; fail "QEMU ended before the marker"; fi
  if grep -qaE 'Kernel panic - not syncing|No bootable device|No bootable option or device|UEFI Interactive Shell|Dropping to a shell!|You are in emergency mode|grub rescue>|Entering rescue mode' "$LOG"; then
    sleep 1; seen && break; fail "guest reported a boot failure"
  fi
  [ "$(date +%s)" -ge "$deadline" ] && fail "marker not seen in ${TIMEOUT}s"
  sleep 0.1
done
echo "boot_image: marker after $(secs)s (arch=$ARCH accel=$ACCEL cpu=$CPU fw=$FW secureboot=$SECURE_BOOT disk=$DISK format=$FORMAT mem=$MEM)"
if [ -n "${ON_MARKER:-}" ]; then
  bash -c "$ON_MARKER" || fail "ON_MARKER command failed"
  echo "boot_image: ON_MARKER passed at $(secs)s"
fi
if [ "${WAIT_POWEROFF:-0}" = 1 ]; then
  while kill -0 "$QPID" 2>/dev/null; do
    [ "$(date +%s)" -ge "$deadline" ] && fail "guest did not power off"
    sleep 0.1
  done
  wait "$QPID"; rc=$?; QPID=
  [ "$rc" = 0 ] || fail "QEMU exit status $rc"
  echo "boot_image: guest powered off after $(secs)s"
fi
exit 0
