#!/usr/bin/env python3
"""How many 512-KiB blocks of a disk a first boot reads: each is fetched from S3 when a volume made of a snapshot is first touched.

    benches/peers.sh && benches/first_boot.py debian.tar --work /dev/shm [--ways mke2fs,plain,order] [--keep FOLDER] [--json FILE]

    mke2fs     rootvol's disk, its root filesystem laid out by `mke2fs -d` in place: same tree, identifiers, features, table, ESP, loader
    plain      rootvol's disk
    order      rootvol's disk with `--boot-order`, learnt by `rootvol boot-order` from the boots of `plain` and measured on a boot of its own
    reordered  the same with `--parent` as well: the next version of `plain`, whose order wins for the files that it names

The tar is that of tests/tools/make-debian-tree.sh: a minimal bootable Debian that prints a marker on the serial console when it is up.
Each disk is booted by tests/tools/boot_image.sh (QEMU, UEFI, NVMe, never written), with `-trace blk_co_preadv`: every read that the
guest's firmware, loader and kernel make until the marker is seen. `blocks` are the distinct blocks of 512 KiB touched; `bound` is what
the distinct pages of 4 KiB that were read would fill: no layout can have fewer, for the same reads. Reading ahead counts as reading;
what a kernel reads ahead depends on the layout, so the bounds differ a little.

--order FILE and --trace WAY=FILE take an order, or the trace of an earlier boot, in place of making one. Emulated (no KVM) a boot takes two
minutes or so. --keep keeps images, traces and what the serial console said.
"""
import argparse, json, os, shutil, signal, subprocess, sys, tempfile
from measure import MIB, sh, skipped

BLOCK, PAGE = 512 << 10, 4 << 10
MARKER = "ROOTVOL-BOOT-OK"
HERE = os.path.dirname(os.path.abspath(__file__))
WAYS = ("mke2fs", "plain", "order", "reordered")


# ---- disks

def build(args, folder, name, *more):
    image = f"{folder}/{name}.raw"
    sh(args.rootvol, "build", args.tar, "-o", image, "--name", "bench", "--boot", "uefi", "--cmdline", "rw console=ttyS0", "--quiet", "--force", *more)
    return image


def report(image):
    with open(f"{image}.report.json") as f:
        return json.load(f)


def root_of(image):
    """Where the root filesystem lies: offset, bytes, and what the report says of it."""
    found = next(p for p in report(image)["partitions"] if p["mount_point"] == "/")
    return found["offset_bytes"], found["size_bytes"], found["filesystem"]


def hash_seed(image, offset):
    """The superblock's s_hash_seed, as a UUID is written."""
    with open(image, "rb") as f:
        f.seek(offset + 1024 + 236)
        digits = f.read(16).hex()
    return "-".join(digits[a:b] for a, b in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32)))


def by_mke2fs(args, folder, plain):
    """The disk of `plain`, its root made by mke2fs -d of the same tree, which only rootvol's own image has whole (fstab, configuration of the loader)."""
    image, single = f"{folder}/mke2fs.raw", f"{folder}/mke2fs.root"
    offset, size, filesystem = root_of(plain)
    if os.geteuid() == 0:
        tree = f"{folder}/mke2fs.tree"
        sh("rm", "-rf", tree)
        sh(args.rootvol, "extract", plain, "--all", "-o", tree)
    else:
        skipped("mke2fs -d of a directory, which takes root: it gets a tar")
        tree = f"{folder}/mke2fs.tree.tar"
        sh(args.rootvol, "extract", plain, "-o", tree, "--force")
    with open(single, "wb") as f:
        f.truncate(size)
    sh(args.mke2fs, "-q", "-F", "-t", "ext4", "-b", "4096", "-O", "^metadata_csum_seed,^orphan_file", "-L", filesystem["label"], "-U", filesystem["uuid"],
       "-E", f"hash_seed={hash_seed(plain, offset)},root_owner=0:0", "-d", tree, single)
    sh("cp", "--sparse=always", plain, image)
    with open(single, "rb") as f, open(image, "r+b") as to:
        to.seek(offset)
        shutil.copyfileobj(f, to, MIB)
    sh("rm", "-rf", tree, single)
    return image


# ---- boots

def boot(args, image, trace):
    log = trace.removesuffix(".trace") + ".serial"
    environment = os.environ | {"SERIAL_LOG": log, "TIMEOUT": str(args.timeout), "MEM": str(args.memory), "QEMU_EXTRA": f"-trace blk_co_preadv -D {trace}"}
    done = subprocess.run([f"{HERE}/../tests/tools/boot_image.sh", image, "raw", "uefi", MARKER], capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{image}: {done.stderr.strip()}")
    print(done.stdout.strip(), flush=True)


def reads(trace):
    """The byte ranges read of the disk, in order. Firmware is read through drives of its own, each once: the disk is the one read most often."""
    by_drive = {}
    with open(trace) as f:
        for line in f:
            words = line.split()
            # blk_co_preadv blk 0x… bs 0x… offset N bytes N flags 0x…, after whatever time stamp there is.
            if "blk_co_preadv" in words[:3] and {"blk", "offset", "bytes"} <= set(words):
                offset, length = (int(words[words.index(word) + 1]) for word in ("offset", "bytes"))
                by_drive.setdefault(words[words.index("blk") + 1], []).append((offset, length))
    if not by_drive:
        sys.exit(f"{trace}: no reads; has this QEMU the trace backend `log`?")
    return max(by_drive.values(), key=len)


def units(ranges, unit):
    return {n for offset, length in ranges if length for n in range(offset // unit, (offset + length - 1) // unit + 1)}


def counted(image, trace, root):
    ranges = reads(trace)
    offset, size, _ = root
    blocks, pages = units(ranges, BLOCK), units(ranges, PAGE)
    return {
        "reads": len(ranges),
        "blocks": len(blocks),
        "blocks_of_root": len([b for b in blocks if b * BLOCK + BLOCK > offset and b * BLOCK < offset + size]),
        "pages": len(pages),
        "bound": -(-len(pages) * PAGE // BLOCK),
        "mib_read": round(len(pages) * PAGE / MIB, 1),
        "trace": trace,
        "image": image,
    }


# ---- ways

def has(args, command, option=None):
    done = subprocess.run([args.rootvol, command, "--help"], capture_output=True, text=True)
    return done.returncode == 0 and (option is None or option in done.stdout)


def disk(args, folder, way, traces):
    """The way's image, or none where something for it is missing."""
    plain = f"{folder}/plain.raw"
    if way == "plain":
        return plain
    if way == "mke2fs":
        if os.access(args.mke2fs, os.X_OK):
            return by_mke2fs(args, folder, plain)
        return skipped(f"mke2fs, which benches/peers.sh makes, is not at {args.mke2fs}")
    needs = ["--boot-order"] + ["--parent"] * (way == "reordered")
    if not all(has(args, "build", option) for option in needs) or not (args.order or has(args, "boot-order")):
        return skipped(f"{way}: this rootvol has no {' and '.join(needs)}, or no command boot-order")
    order = args.order or f"{folder}/boot-order"
    if not args.order:
        learnt = traces.get("plain")
        if not learnt:
            return skipped(f"{way}: nothing to learn from without the way plain")
        done = subprocess.run([args.rootvol, "boot-order", plain, *learnt], capture_output=True)
        if done.returncode:
            sys.exit(f"boot-order: {done.stderr.decode(errors='replace').strip()}")
        with open(order, "wb") as f:
            f.write(done.stdout)
    return build(args, folder, way, "--boot-order", order, *(["--parent", f"{plain}.report.json"] if way == "reordered" else []))


def explained(args, image, trace):
    """What rootvol itself says of it, where it has the command."""
    if has(args, "first-boot"):
        done = subprocess.run([args.rootvol, "first-boot", image, trace], capture_output=True, text=True)
        print(done.stdout.strip() or done.stderr.strip(), flush=True)


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("tar")
    a.add_argument("--ways", default=",".join(WAYS))
    a.add_argument("--boots", type=int, default=1, help="boots of each disk; an order is learnt from all those of `plain`")
    a.add_argument("--order", help="an order file in place of one that is learnt")
    a.add_argument("--trace", action="append", default=[], metavar="WAY=FILE", help="the trace of an earlier boot of a way's disk")
    a.add_argument("--timeout", type=int, default=580, help="seconds for a boot")
    a.add_argument("--memory", type=int, default=512, help="the guest's, in MiB")
    a.add_argument("--work")
    a.add_argument("--keep", help="a folder in which everything stays")
    a.add_argument("--json", help="a file for the figures")
    a.add_argument("--explain", action="store_true", help="print what `rootvol first-boot` says of each boot")
    a.add_argument("--mke2fs", default=os.path.join(HERE, "../target/peers/mke2fs"))
    a.add_argument("--rootvol", default="target/release/rootvol")
    args = a.parse_args()
    if unknown := set(args.ways.split(",")) - set(WAYS):
        a.error(f"no way {', '.join(sorted(unknown))}; there are {', '.join(WAYS)}")
    args.rootvol, args.mke2fs, args.tar = os.path.abspath(args.rootvol), os.path.abspath(args.mke2fs), os.path.abspath(args.tar)
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if not shutil.which("qemu-system-x86_64"):
        return skipped("everything, without qemu-system-x86_64")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # so that what lies in --work goes
    folder = args.keep or tempfile.mkdtemp(prefix="rootvol-bench.", dir=args.work)
    os.makedirs(folder, exist_ok=True)
    try:
        measure(args, os.path.abspath(folder))
    finally:
        if not args.keep:
            sh("rm", "-rf", folder)


def measure(args, folder):
    given, traces, figures = {}, {}, {}
    for way, file in (pair.split("=", 1) for pair in args.trace):
        given.setdefault(way, []).append(os.path.abspath(file))
    build(args, folder, "plain")
    # An order is learnt from `plain`, so that is first.
    for way in sorted(args.ways.split(","), key=("plain", *WAYS).index):
        image = disk(args, folder, way, traces)
        if not image:
            continue
        traces[way] = given.get(way) or [f"{folder}/{way}-{boot + 1}.trace" for boot in range(args.boots)]
        for trace in traces[way]:
            if way not in given:
                boot(args, image, trace)
            if args.explain:
                explained(args, image, trace)
        root = root_of(f"{folder}/plain.raw" if way == "mke2fs" else image)
        figures[way] = [counted(image, trace, root) for trace in traces[way]]
    print("\n| way | blocks of 512 KiB touched | of them in the root's partition | bound (pages read) | over the bound | MiB read | reads |\n|---|---|---|---|---|---|---|")
    for way, boots in figures.items():
        for f in boots:
            print(f"| {way} | {f['blocks']} | {f['blocks_of_root']} | {f['bound']} | {f['blocks'] - f['bound']} | {f['mib_read']} | {f['reads']} |")
    if args.json:
        with open(args.json, "w") as f:
            json.dump({"tar_bytes": os.path.getsize(args.tar), "ways": figures}, f, indent=2)


if __name__ == "__main__":
    main()
