#!/usr/bin/env python3
"""Images that exist: listing with hashes, converting, taking out. Each beside the tools that do the same, in turn, in one run.

    list      100,000 files of 0 to 8 KiB in ext4, from the page cache: names, metadata, SHA-256 of every file. Beside the crate ext4-view
              (made by benches/peers.sh) and, as root, a loop mount with find and sha256sum
    convert   a sparse raw disk of 16 GiB with 2 GiB of data to a dynamic VHD, with checksums and report. Beside qemu-img convert
    extract   the same 100,000 files out of a tar and out of an image into a directory. Beside GNU tar out of the tar
"""
import os, random
from inputs import make_input
from jobs import arguments, run_all
from measure import GIB, MIB, in_turn, missing, sh, skipped, table


def heading(what):
    print(f"\n## {what}", flush=True)


def listing(args, folder):
    tree, tar = make_input("b", None, folder, args.scale)
    image = f"{folder}/image.ext4"
    sh(args.rootvol, "build", tree, "--owner", "0:0", "--boot", "none", "--table", "none", "--name", "b", "-o", image, "--quiet")
    ways = {"rootvol ls --hash --json": f'{args.rootvol} ls {image} -R --hash --json >"$OUT/list"'}
    if os.access(f"{args.peers}/ext4view", os.X_OK):
        ways["ext4-view and sha2"] = f'{args.peers}/ext4view {image} >"$OUT/list"'
    else:
        skipped("ext4-view, which benches/peers.sh makes")
    if os.geteuid() == 0 and not missing("mount", "find", "sha256sum"):
        ways["loop mount, find, sha256sum"] = (
            f'mkdir "$OUT/mnt"; mount -o loop,ro,noload {image} "$OUT/mnt"; trap \'umount "$OUT/mnt"\' EXIT; '
            'find "$OUT/mnt" -printf "%P %y %m %U %G %s %T@ %n %i\\n" >"$OUT/list"; find "$OUT/mnt" -type f -print0 | xargs -0 sha256sum >"$OUT/hashes"'
        )
    else:
        skipped("a loop mount, which needs root")
    heading("list: 100,000 files with hashes, out of an ext4 image")
    results, failures = in_turn(f"{folder}/work", ways, args.runs, args.timeout)
    table(results, failures, lambda name: "rootvol ls --hash --json")


def convert(args, folder):
    disk, numbers = f"{folder}/disk.raw", random.Random("convert")
    piece = numbers.randbytes(64 * MIB // args.scale)
    with open(disk, "wb") as f:
        f.truncate(16 * GIB)
        for at in range(32):
            f.seek(at * 512 * MIB)
            f.write(at.to_bytes(8, "little"))
            f.write(piece[8:])
    ways = {"rootvol convert": f'{args.rootvol} convert {disk} "$OUT/disk.vhd" --quiet'}
    if missing("qemu-img"):
        skipped("qemu-img")
    else:
        ways["qemu-img convert"] = f'qemu-img convert -f raw -O vpc -o subformat=dynamic,force_size=on {disk} "$OUT/disk.vhd"'
        ways["qemu-img convert, 2 threads (-W -m 2)"] = f'qemu-img convert -W -m 2 -f raw -O vpc -o subformat=dynamic,force_size=on {disk} "$OUT/disk.vhd"'
    heading("convert: 16 GiB, sparse, 2 GiB of data, raw to dynamic VHD")
    results, failures = in_turn(f"{folder}/work", ways, args.runs, args.timeout)
    table(results, failures, lambda name: "rootvol convert")


def extract(args, folder):
    tree, tar = make_input("b", None, folder, args.scale)
    image = f"{folder}/image.ext4"
    sh("tar", "--format=pax", "--sort=name", "--owner=0", "--group=0", "-C", tree, "-cf", tar, ".")
    sh(args.rootvol, "build", tar, "--boot", "none", "--table", "none", "--name", "b", "-o", image, "--quiet")
    ways = {
        "rootvol extract, of the tar": f'{args.rootvol} extract {tar} -o "$OUT/out" --quiet',
        "rootvol extract, of the image": f'{args.rootvol} extract {image} -o "$OUT/out" --quiet',
        "tar x": f'mkdir "$OUT/out"; tar --no-same-owner -C "$OUT/out" -xf {tar}',
    }
    heading("extract: 100,000 files into a directory")
    results, failures = in_turn(f"{folder}/work", ways, args.runs, args.timeout)
    table(results, failures, lambda name: "rootvol extract, of the tar")


JOBS = {"list": listing, "convert": convert, "extract": extract}

if __name__ == "__main__":
    run_all(arguments(__doc__, JOBS), JOBS)
