#!/usr/bin/env python3
"""How cost grows: with threads, data, entries, and the size of the disk. Memory besides.

    benches/peers.sh && benches/scaling.py [rootfs.tar] --work /dev/shm [--jobs threads,data,entries,disk] [--runs 5] [--quick]

    threads   the tar into GPT + ESP + ext4 in a dynamic VHD, with 1, 2, 4, 8, 16 and 64 threads
    data      1, 4, 16 and 64 GiB of data into ext4, to standard output, which is /dev/null: one file of 1 GiB under so many
              paths, so that no disk fills
    entries   1,000 to 1,000,000 files of about 9 bytes, 999 in a directory, from a tar, with 1, 2 and 4 threads: time and
              memory (the aim: at most 64 MiB + 300 bytes an entry)
    disk      1 GiB of data on a disk of 10 GiB to 64 TiB, raw and sparse; what is allocated, against mke2fs (lazy inode
              tables) with the same data

Cost is to grow with data, entries and group descriptors, never with the blocks of the disk. In --work lie at most 3 GiB. Runs
take turns, with a sync before each; medians. --quick makes small inputs: that it works, not how fast it is.
"""
import os, random, sys
import inputs
from jobs import arguments, mke2fs, run_all
from measure import GIB, MIB, in_turn, median, ratios, skipped

SIZES = {"10 GiB": 10 * GIB, "100 GiB": 100 * GIB, "1 TiB": 1 << 40, "16 TiB": 1 << 44, "64 TiB": 1 << 46}


def run(args, top, ways, first=None):
    results, failures = in_turn(os.path.join(top, "work"), ways, args.runs, first=first)
    for name, failure in failures.items():
        sys.exit(f"{name}: {failure}")
    return results


def row(*cells):
    print(f"| {' | '.join(str(cell) for cell in cells)} |", flush=True)


def heading(title, *columns):
    print(f"\n## {title}\n")
    row(*columns)
    print("|" + "---|" * len(columns))


def figures(found):
    return f"{median(found):.2f} ({min(f[0] for f in found):.2f})", f"{median(found, 1):.2f}", f"{median(found, 2):.0f}"


def random_file(path, size):
    numbers = random.Random("data")
    with open(path, "wb") as f:
        for _ in range(size // MIB):
            f.write(numbers.randbytes(MIB))


def one_file(top, size, counts):
    """Recipes, by count: a tree of so many files that all are one file of so many bytes."""
    random_file(f"{top}/data", size)
    os.mkdir(f"{top}/root")
    found = {}
    for count in counts:
        text = '[disk]\nformat = "raw"\ntable = "none"\n[boot]\nmode = "none"\n[[partition]]\ntype = "linux"\nfilesystem = "ext4"\nsource = ["root"]\n'
        text += "".join(f'[[file]]\npath = "/file-{number:02}"\nsource = "data"\n' for number in range(count))
        found[count] = f"{top}/{count}.toml"
        inputs.write(found[count], f'name = "bench"\n{text}'.encode())
    return found


def threads(args, top):
    if not args.tar:
        return skipped("threads: without a tar")
    build = f'{args.rootvol} build {args.tar} -o "$OUT/disk.vhd" --quiet --size "2 GiB" --name bench'
    counts = (1, 2, 4) if args.quick else (1, 2, 4, 8, 16, 64)
    results = run(args, top, {count: f"{build} --threads {count}" for count in counts})
    heading("threads: the tar → GPT + ESP + ext4 in a VHD", "threads", "wall s (least)", "CPU s", "peak MiB", "wall, times one thread's (least, most)", "CPU")
    for count, found in results.items():
        wall, least, most = ratios(found, results[1])
        row(count, *figures(found), f"{wall:.2f} ({least:.2f}, {most:.2f})", f"{ratios(found, results[1], 1)[0]:.2f}")


def data(args, top):
    made = one_file(top, 8 * MIB if args.quick else GIB, (1, 4, 16, 64))
    results = run(args, top, {(count, n): f"{args.rootvol} build --recipe {path} --threads {n} -o - --quiet >/dev/null" for count, path in made.items() for n in (1, 2)})
    heading("data: so many files of 1 GiB → ext4 → /dev/null", "GiB", "threads", "wall s (least)", "CPU s", "peak MiB", "wall s a GiB", "CPU s a GiB")
    for (count, n), found in results.items():
        row(count, n, *figures(found), f"{median(found) / count:.3f}", f"{median(found, 1) / count:.3f}")


def entries(args, top):
    heading("entries: files of 9 bytes in a tar → ext4, 32 GiB", "entries", "threads", "wall s (least)", "CPU s", "peak MiB", "aim, MiB", "µs of CPU an entry")
    for directories in (1, 10, 100) if args.quick else (1, 10, 100, 1000):
        tar = f"{top}/entries.tar"
        inputs.entries_tar(tar, directories)
        options = '--quiet --table none --boot none --size "32 GiB" --name bench'
        ways = {n: f'{args.rootvol} build {tar} -o "$OUT/image.raw" {options} --threads {n}' for n in (1, 2, 4)}
        for n, found in run(args, top, ways).items():
            count = directories * 1000
            row(f"{count:,}", n, *figures(found), f"{64 + count * 300 / MIB:.0f}", f"{median(found, 1) / count * 1e6:.1f}")


def disk(args, top):
    made = one_file(top, 64 * MIB if args.quick else GIB, (0,))[0]
    sizes = dict(list(SIZES.items())[: 3 if args.quick else None])
    os.rename(f"{top}/data", f"{top}/root/data")
    ways = {name: f'{args.rootvol} build --recipe {made} --size "{name}" -o "$OUT/image" --quiet' for name in sizes}
    if os.access(mke2fs(args), os.X_OK):
        ways |= {f"mke2fs, {name}": f'{mke2fs(args)} -q -F -t ext4 -E lazy_itable_init=1 -d {top}/root "$OUT/image" {size // MIB}M' for name, size in sizes.items()}
    else:
        skipped("mke2fs, which benches/peers.sh makes")
    allocated = {}

    def first(name):
        allocated[name] = os.stat(f"{top}/work/image").st_blocks * 512 / MIB

    results = run(args, top, ways, first)
    columns = ("disk", "wall s (least)", "CPU s", "peak MiB", "wall, times that of 10 GiB (least, most)", "more than that, s", "allocated MiB", "mke2fs: wall s", "allocated MiB")
    heading("disk: 1 GiB of data → ext4, raw and sparse", *columns)
    for name in sizes:
        wall, least, most = ratios(results[name], results["10 GiB"])
        theirs = f"mke2fs, {name}"
        other = (f"{median(results[theirs]):.2f}", f"{allocated[theirs]:.0f}") if theirs in results else ("", "")
        more = median(results[name]) - median(results["10 GiB"])
        row(name, *figures(results[name]), f"{wall:.2f} ({least:.2f}, {most:.2f})", f"{more:.2f}", f"{allocated[name]:.0f}", *other)


JOBS = {job.__name__: job for job in (threads, data, entries, disk)}

if __name__ == "__main__":
    run_all(arguments(__doc__, JOBS), JOBS)
