#!/usr/bin/env python3
"""How many 512-KiB blocks of an image differ when a little of its tree does: those are uploaded, stored and fetched again.

    benches/peers.sh && benches/next_version.py debian.tar --work /dev/shm [--kind percent,one-byte,date,removed] [--json FILE]
    benches/next_version.py debian.tar --work /dev/shm --generations 50

    percent   1 % of the files, chosen at random by --seed, have other contents, of a length up to 20 % more or less, and a new mtime
    one-byte  one byte of one file
    date      a version in one file, and the build's own date
    removed   half a percent of the files are gone, as many are new

Each version is a tar, made here, with everything else as it was. Filesystems: one bare ext4 of one size by rootvol, without a parent and with
`--parent`; by mke2fs -d (same UUID, hash seed and SOURCE_DATE_EPOCH, from the tar and from a directory); by the crate mkext4. Disks: rootvol's
with table, ESP and loader. `differ` are the blocks of which a byte differs, `zeros` those of them that are now zero. Then the time of
`rootvol plan` with and without a parent, in turn.

--generations N makes N versions, each the parent of the next: 1 % changed, a fifth of a percent removed and as many new; after each the files in
more than one piece, the used size against that of a fresh build, and the blocks that differ from the version before. --judge runs e2fsck on each.
"""
import argparse, json, os, shutil, signal, statistics, subprocess, sys, tempfile
from measure import GIB, MIB, in_turn, machine, median, ratios, sh, skipped
from versions import Ext4, Tree

BLOCK = 512 << 10
UUID = "6f0b1d0e-5a1c-4c3c-9a53-6b1f5f2d7c11"
EPOCHS = ("1700000000", "1700086400")
KINDS = ("percent", "one-byte", "date", "removed")
AIMS = {("percent", True): 60, ("percent", False): 150, ("one-byte", True): 6, ("date", True): 6}
HERE = os.path.dirname(os.path.abspath(__file__))


# ---- images

def rootvol(args, source, image, *more, epoch=EPOCHS[0]):
    """A build; what it noted."""
    words = [args.rootvol, "build", source, "-o", image, "--name", "bench", "--size", f"{args.size} B", "--force", "--json", *args.more, *more]
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ | {"SOURCE_DATE_EPOCH": epoch})
    if done.returncode:
        sys.exit(f"{' '.join(words)}: {done.stderr.strip()}")
    return json.loads(done.stdout)


BARE = ("--table", "none", "--boot", "none")


def has_parent(args):
    done = subprocess.run([args.rootvol, "build", "--help"], capture_output=True, text=True)
    return "--parent" in done.stdout.split()


def mke2fs(args, source, image, epoch):
    words = [args.mke2fs, "-q", "-F", "-t", "ext4", "-b", "4096", "-O", "^metadata_csum_seed,^orphan_file", "-U", UUID, "-E", f"hash_seed={UUID},root_owner=0:0"]
    done = subprocess.run([*words, "-d", source, image, f"{args.size // 1024}k"], capture_output=True, text=True, env=os.environ | {"SOURCE_DATE_EPOCH": epoch})
    if done.returncode:
        sys.exit(f"mke2fs: {done.stderr.strip()}")


def unpacked(folder, tar):
    tree = f"{folder}/tree"
    sh("rm", "-rf", tree)
    os.mkdir(tree)
    sh("tar", "-C", tree, "--xattrs", "--xattrs-include=*", *([] if os.geteuid() == 0 else ["--exclude=./dev"]), "-xpf", tar)
    return tree


def compare(old, new):
    """Blocks of 512 KiB: with data in the new one, differing, and of these now zero. A missing end counts as zero."""
    data = differ = zeros = 0
    zero = bytes(BLOCK)
    with open(old, "rb") as a, open(new, "rb") as b:
        while True:
            before, after = a.read(BLOCK), b.read(BLOCK)
            if not before and not after:
                return {"data": data, "differ": differ, "zeros": zeros}
            before, after = before.ljust(BLOCK, b"\0"), after.ljust(BLOCK, b"\0")
            full = after != zero
            data += full
            if before != after:
                differ, zeros = differ + 1, zeros + (not full)


# ---- one step

def step(kind, old, percent):
    """The next version by a kind of change: the tree, how many files changed, how many bytes of contents are new."""
    new = old.next()
    if kind == "percent":
        return new, *new.change(percent)
    if kind == "one-byte":
        return new, *new.one_byte()
    if kind == "date":
        return new, *new.version_string()
    return new, *new.replace(percent / 2)


def one_kind(args, folder, kind, old, old_tar):
    tree, files, length = step(kind, old, args.percent)
    new_tar = tree.write(f"{folder}/new.tar")
    date = EPOCHS[kind == "date"]
    print(f"\n## {kind}: {files} file{'s' * (files != 1)}, {length / 1e6:.1f} MB of contents\n")
    print("| way | data blocks | differ | of them zeros | MiB | share | aim |\n|---|---|---|---|---|---|---|")
    found, image = {}, lambda n: f"{folder}/{n}.raw"

    def told(name, before, after, aim=None):
        figures = found[name] = compare(before, after)
        share = 100 * figures["differ"] / max(1, figures["data"])
        aim = "" if aim is None else f"{aim}{', missed' if figures['differ'] > aim else ''}"
        print(f"| {name} | {figures['data']} | {figures['differ']} | {figures['zeros']} | {figures['differ'] / 2:g} | {share:.1f} % | {aim} |", flush=True)

    usual = kind == "percent" and args.percent == 1
    for what, more in (("filesystem", BARE), ("disk", ())):
        rootvol(args, old_tar, image("old"), *more)
        rootvol(args, new_tar, image("new"), *more, epoch=date)
        told(f"rootvol, {what}", image("old"), image("new"), AIMS.get((kind, False)) if usual or kind != "percent" else None)
        if args.parent:
            rootvol(args, new_tar, image("next"), *more, "--parent", f"{image('old')}.report.json", epoch=date)
            told(f"rootvol --parent, {what}", image("old"), image("next"), AIMS.get((kind, True)) if usual or kind != "percent" else None)
            if args.causes:
                subprocess.run([args.rootvol, "diff", image("old"), image("next")])
    others(args, folder, kind, (old_tar, new_tar), told)
    return found | {"files": files, "bytes": length}


def others(args, folder, kind, tars, told):
    dates = (EPOCHS[0], EPOCHS[kind == "date"])
    names = (f"{folder}/old.raw", f"{folder}/new.raw")
    if os.access(args.mke2fs, os.X_OK):
        for tar, name, date in zip(tars, names, dates):
            sh("rm", "-f", name)
            mke2fs(args, tar, name, date)
        told("mke2fs -d, tar", *names)
        for tar, name, date in zip(tars, names, dates):
            sh("rm", "-f", name)
            mke2fs(args, unpacked(folder, tar), name, date)
        told("mke2fs -d, directory", *names)
    else:
        skipped(f"mke2fs, which benches/peers.sh makes, is not at {args.mke2fs}")
    if os.access(args.mkext4, os.X_OK):
        for tar, name in zip(tars, names):
            sh("rm", "-f", name)
            sh(args.mkext4, unpacked(folder, tar), name, str(args.size))
        told("mkext4, directory", *names)
    else:
        skipped(f"mkext4, which benches/peers.sh makes, is not at {args.mkext4}")
    sh("rm", "-rf", f"{folder}/tree")


def planning(args, folder, old, old_tar):
    """The time of planning, from the tar, with and without a parent."""
    if not args.parent:
        return skipped("planning with a parent: this rootvol has no --parent")
    tree, _, _ = step("percent", old, args.percent)
    new_tar = tree.write(f"{folder}/new.tar")
    rootvol(args, old_tar, f"{folder}/old.raw", *BARE)
    plan = [args.rootvol, "plan", new_tar, "--name", "bench", "--size", f"{args.size} B", *BARE, *args.more]
    ways = {"without": plan, "with": [*plan, "--parent", f"{folder}/old.raw.report.json"]}
    results, failures = in_turn(f"{folder}/work", ways, args.runs)
    if failures:
        sys.exit(f"rootvol plan: {failures}")
    wall, cpu = ratios(results["with"], results["without"]), ratios(results["with"], results["without"], 1)
    print(f"\n## rootvol plan of that tar\n\nwithout a parent {median(results['without']):.3f} s, with one {median(results['with']):.3f} s: {wall[0]:.2f} times"
          f" ({wall[1]:.2f} to {wall[2]:.2f}), CPU {cpu[0]:.2f} times; aim: at most 1.5{'' if wall[0] <= 1.5 else ', missed'}")
    return {"without_s": median(results["without"]), "with_s": median(results["with"]), "times": wall[0], "cpu_times": cpu[0]}


# ---- generations

def root(report):
    return next(p for p in report["partitions"] if p["filesystem"] and p["filesystem"]["kind"].startswith("ext"))


def fragments(image, report):
    """Files in more than one piece, files, the most pieces of one."""
    pieces = list(Ext4(image, root(report)["offset_bytes"]).pieces().values())
    return sum(p > 1 for p in pieces), len(pieces), max(pieces, default=0)


def generations(args, folder, tree, old_tar):
    more = () if args.disk else BARE
    image = lambda which, generation: f"{folder}/{which}-{generation}.raw"
    fresh = rootvol(args, old_tar, image("fresh", 0), *more)
    sh("cp", "--sparse=always", image("fresh", 0), image("kept", 0))
    for beside in ("report.json", "blocks.jsonl", "layout"):
        if os.path.exists(f"{image('fresh', 0)}.{beside}"):
            shutil.copy(f"{image('fresh', 0)}.{beside}", f"{image('kept', 0)}.{beside}")
    print(f"\n## {args.generations} generations, {'disks' if args.disk else 'filesystems'}\n")
    print("| generation | MB new | differ with parent | without | files in pieces | share | most pieces | used, times fresh | noted |\n|---|---|---|---|---|---|---|---|---|")
    rows = [dict(zip(("fragmented", "files", "most"), fragments(image("fresh", 0), fresh))) | {"generation": 0, "used_ratio": 1.0}]
    for number in range(1, args.generations + 1):
        tree = tree.next()
        length = tree.change(args.percent)[1] + tree.replace(args.percent / 5)[1]
        tar = tree.write(f"{folder}/new.tar")
        fresh = rootvol(args, tar, image("fresh", number), *more)
        row = {"generation": number, "bytes": length, "without": compare(image("fresh", number - 1), image("fresh", number))["differ"]}
        if args.parent:
            kept = rootvol(args, tar, image("kept", number), *more, "--parent", f"{image('kept', number - 1)}.report.json")
            row |= dict(zip(("fragmented", "files", "most"), fragments(image("kept", number), kept)))
            row["used_ratio"] = root(kept)["filesystem"]["used_bytes"] / root(fresh)["filesystem"]["used_bytes"]
            row["with"] = compare(image("kept", number - 1), image("kept", number))["differ"]
            row["notes"] = [n for n in kept["notes"] if n not in fresh["notes"]]
            if args.judge:
                judge(image("kept", number), root(kept)["offset_bytes"])
        rows.append(row)
        share = 100 * row["fragmented"] / row["files"] if args.parent else 0
        if args.parent:
            print(f"| {number} | {length / 1e6:.1f} | {row['with']} | {row['without']} | {row['fragmented']} of {row['files']} | {share:.2f} % | {row['most']} | {row['used_ratio']:.4f} | {'; '.join(row['notes'])} |", flush=True)
        else:
            print(f"| {number} | {length / 1e6:.1f} | | {row['without']} | | | | | |", flush=True)
        for which in ("fresh", "kept"):
            for end in ("", ".report.json", ".blocks.jsonl", ".layout"):
                sh("rm", "-f", image(which, number - 1) + end)
    summary(args, rows)
    return rows


def summary(args, rows):
    if not args.parent:
        return skipped("the versions with a parent: this rootvol has no --parent")
    most = max(100 * row["fragmented"] / row["files"] for row in rows)
    used = max(row["used_ratio"] for row in rows)
    medians = [statistics.median(row[which] for row in rows[1:]) for which in ("with", "without")]
    print(f"\nat most {most:.2f} % of files in more than one piece (aim: 2 %{', missed' if most > 2 else ''}); used at most {used:.4f} times a fresh build"
          f" (aim: 1.05{', missed' if used > 1.05 else ''}); median of blocks that differ {medians[0]:g}, without a parent {medians[1]:g}")


def judge(image, offset):
    if not shutil.which("e2fsck"):
        return skipped("e2fsck")
    done = subprocess.run(["e2fsck", "-fn", f"{image}?offset={offset}" if offset else image], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"e2fsck of {image}: {done.stdout.strip()}")


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("tar")
    a.add_argument("--kind", default=",".join(KINDS))
    a.add_argument("--percent", type=float, default=1)
    a.add_argument("--generations", type=int, default=0)
    a.add_argument("--disk", action="store_true", help="generations of whole disks in place of filesystems")
    a.add_argument("--judge", action="store_true", help="e2fsck on each generation")
    a.add_argument("--causes", action="store_true", help="what `rootvol diff` says of each pair with a parent")
    a.add_argument("--seed", default="23", help="23: of a Debian tree a change of 6.4 MB; most seeds change some 2 MB")
    a.add_argument("--size", type=int, help="bytes of each image; without it: a GiB for each half GiB of tar")
    a.add_argument("--more", default="", help="words added to every `rootvol build` and `plan`")
    a.add_argument("--runs", type=int, default=5)
    a.add_argument("--work")
    a.add_argument("--json", help="a file for the figures")
    a.add_argument("--peers", default=os.path.join(HERE, "../target/peers"))
    a.add_argument("--rootvol", default="target/release/rootvol")
    args = a.parse_args()
    if unknown := set(args.kind.split(",")) - set(KINDS):
        a.error(f"no kind {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    args.rootvol, args.mke2fs, args.mkext4 = os.path.abspath(args.rootvol), os.path.abspath(f"{args.peers}/mke2fs"), os.path.abspath(f"{args.peers}/mkext4")
    args.more, args.size = args.more.split(), args.size or -(-os.path.getsize(args.tar) * 2 // GIB) * GIB
    args.parent = has_parent(args)
    if not args.parent:
        skipped("whatever takes a parent: this rootvol has no --parent")
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # so that what lies in --work goes
    folder = tempfile.mkdtemp(prefix="rootvol-bench.", dir=args.work)
    found = {}
    try:
        print(machine(folder, args.runs))
        old = Tree(args.tar, args.seed)
        # Written anew, so that only the change differs.
        old_tar = old.write(f"{folder}/old.tar")
        if args.generations:
            found["generations"] = generations(args, folder, old, old_tar)
        else:
            for kind in args.kind.split(","):
                found[kind] = one_kind(args, folder, kind, old, old_tar)
            found["planning"] = planning(args, folder, old, old_tar)
    finally:
        sh("rm", "-rf", folder)
    if args.json:
        with open(args.json, "w") as f:
            json.dump(found, f, indent=2)


if __name__ == "__main__":
    main()
