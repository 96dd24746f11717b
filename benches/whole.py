#!/usr/bin/env python3
"""The whole way, side by side: rootvol against the chain of other tools.

    benches/whole.py rootfs.tar [--runs 5] [--work DIR] [--gib 2] [--rootvol target/release/rootvol]

Every way starts from the same root filesystem and ends with the same things, on the disk (fsync): a GPT disk with an EFI
system partition and an ext4 root in a dynamic VHD, and the SHA-256 of every 512-KiB block of the disk that is not zero.

    rootvol      from the tar; and from the unpacked tree, from the tar in zstd, with one thread
    chain        mkfs.vfat and mcopy, sgdisk, mke2fs -d straight into its partition, qemu-img convert -O vpc, then hashing
                 with two threads of what is no hole. It starts from the unpacked tree.
    tar + chain  the same with `tar -x` counted, which the chain needs where the source is a tar
    limits       the tar copied (cp), the tar hashed in blocks (hashlib, two threads)

Where there is a choice the chain has the better part: it copies kernel and initrd to the ESP and makes no loader, no
configuration, no fstab and no documents. Every way runs once before it counts; runs take turns, with a sync before each.
The table has medians: wall seconds, CPU seconds (user + system of all processes) and peak memory (of the largest process;
about 15 MiB are this script's own). Put --work on a tmpfs to leave the disk out. What is missing is a visible skip.
"""
import argparse, concurrent.futures, hashlib, os, platform, shutil, statistics, subprocess, sys, tempfile, time

BLOCK = 512 * 1024
ZERO = bytes(BLOCK)
ESP_MIB = 128


def hash_blocks(path):
    """SHA-256 of each block that is not zero, with two threads (hashlib lets go of the interpreter's lock). Holes are not read."""
    count = 0
    with open(path, "rb", buffering=0) as f, concurrent.futures.ThreadPoolExecutor(2) as pool:
        size = os.fstat(f.fileno()).st_size
        pending, at = [], 0
        while at < size:
            try:
                at = max(at, os.lseek(f.fileno(), at, os.SEEK_DATA) // BLOCK * BLOCK)
            except OSError:  # nothing but a hole up to the end
                break
            data = os.pread(f.fileno(), BLOCK, at)
            at += BLOCK
            if data == ZERO[: len(data)]:
                continue
            pending.append(pool.submit(lambda d: hashlib.sha256(d.ljust(BLOCK, b"\0")).digest(), data))
            count += 1
            if len(pending) > 8:
                pending.pop(0).result()
        for p in pending:
            p.result()
    return count


def sh(*command):
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr.decode(errors='replace').strip()}")


def unpack(tar, to):
    sh("tar", "-C", to, "--xattrs", "--xattrs-include=*", "-xpf", tar)


def chain(gib, tree, work):
    raw, esp, vhd = (os.path.join(work, n) for n in ("disk.raw", "esp.img", "disk.vhd"))
    root_mib = 1024 * gib - 1 - ESP_MIB - 1
    for path, mib in ((esp, ESP_MIB), (raw, 1024 * gib)):
        with open(path, "wb") as f:
            f.truncate(mib << 20)
    sh("mkfs.vfat", "-F", "32", "-s", "1", "-n", "ESP", esp)
    boot = os.path.join(tree, "boot")
    payload = [os.path.join(boot, n) for n in sorted(os.listdir(boot)) if n.startswith(("vmlinuz", "initrd"))] if os.path.isdir(boot) else []
    sh("mmd", "-i", esp, "::/EFI", "::/EFI/BOOT")
    for p in payload:
        sh("mcopy", "-i", esp, p, "::/EFI/BOOT/")
    sh("sgdisk", "-n", f"1:2048:+{ESP_MIB}M", "-t", "1:ef00", "-n", f"2:{(1 + ESP_MIB) * 2048}:+{root_mib}M", "-t", "2:8304", raw)
    sh("dd", f"if={esp}", f"of={raw}", "bs=1M", "seek=1", "conv=notrunc,sparse")
    sh("mke2fs", "-q", "-t", "ext4", "-E", f"offset={(1 + ESP_MIB) << 20}", "-d", tree, raw, f"{root_mib}M")
    sh("qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", "subformat=dynamic,force_size=on", raw, vhd)
    sh("sync", vhd)
    sh(sys.executable, __file__, "--hash", raw)


def clear(work):
    for name in os.listdir(work):
        path = os.path.join(work, name)
        shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)


def measured(work, command):
    """Runs a callable in a child; wall and CPU seconds and the peak of its largest process in MiB."""
    clear(work)
    os.sync()
    start = time.monotonic()
    pid = os.fork()
    if pid == 0:
        try:
            command()
            os._exit(0)
        except BaseException as e:
            print(e, file=sys.stderr)
            os._exit(1)
    # The figures are the child's and those of all processes that it waited for.
    _, status, usage = os.wait4(pid, 0)
    wall = time.monotonic() - start
    if status:
        sys.exit("a measured command failed")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("tar", nargs="?")
    a.add_argument("--runs", type=int, default=5)
    a.add_argument("--gib", type=int, default=2)
    a.add_argument("--work")
    a.add_argument("--rootvol", default="target/release/rootvol")
    a.add_argument("--hash", help=argparse.SUPPRESS)
    args = a.parse_args()
    if args.hash:
        print(hash_blocks(args.hash))
        return
    if not args.tar:
        a.error("a tar is needed")
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    os.environ["MTOOLS_SKIP_CHECK"] = "1"
    top = tempfile.mkdtemp(prefix="rootvol-bench.", dir=args.work)
    work, sources = os.path.join(top, "work"), os.path.join(top, "sources")
    os.mkdir(work), os.mkdir(sources)
    try:
        table(args, run(args, work, sources), top)
    finally:
        shutil.rmtree(top)


def missing(*tools):
    return [t for t in tools if not shutil.which(t)]


def run(args, work, sources):
    """All figures by way: lists of (wall, CPU, peak)."""
    tool, out = os.path.abspath(args.rootvol), os.path.join(work, "disk.vhd")
    # Beside the output, so that --work says where everything lies.
    tar = shutil.copy(args.tar, os.path.join(sources, "rootfs.tar"))
    build = lambda source, size, *more: (lambda: sh(tool, "build", source, "-o", out, "--quiet", "--size", f"{size} GiB", *more))
    ways = {"rootvol, from the tar": build(tar, args.gib), "rootvol, one thread": build(tar, args.gib, "--threads", "1")}
    if missing("zstd"):
        print("SKIPPED: from a tar in zstd, without zstd")
    else:
        sh("zstd", "-q", tar, "-o", tar + ".zst")
        ways["rootvol, from the tar in zstd"] = build(tar + ".zst", args.gib)
    lacks = missing("mke2fs", "sgdisk", "mkfs.vfat", "mcopy", "mmd", "qemu-img", "tar")
    if lacks:
        print(f"SKIPPED: the chain, without {', '.join(lacks)}")
    elif os.geteuid() != 0:
        print("SKIPPED: the chain and the tree, which need root to unpack owners and devices")
    else:
        tree, fresh = os.path.join(sources, "tree"), os.path.join(work, "tree")
        os.mkdir(tree)
        unpack(tar, tree)
        ways["rootvol, from the tree"] = build(tree, args.gib)
        ways["chain, from the tree"] = lambda: chain(args.gib, tree, work)
        ways["tar + chain"] = lambda: (os.mkdir(fresh), unpack(tar, fresh), chain(args.gib, fresh, work))
    ways["limit: cp of the tar"] = lambda: sh("cp", tar, os.path.join(work, "copy.tar"))
    ways["limit: hashlib over the tar"] = lambda: hash_blocks(tar)
    ways["rootvol, disk of 10 GiB"] = build(tar, 10)
    ways["rootvol, disk of 1 TiB"] = build(tar, 1024)
    results = {name: [] for name in ways}
    for turn in range(args.runs + 1):
        for name, command in ways.items():
            figures = measured(work, command)
            if turn:  # the first turn warms the page cache
                results[name].append(figures)
    return results


def processor():
    try:
        with open("/proc/cpuinfo") as f:
            return next(line.split(":")[1].strip() for line in f if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def table(args, results, top):
    kind = subprocess.run(["stat", "-f", "-c", "%T", top], capture_output=True, text=True).stdout.strip() or "?"
    ratio = lambda a, b: statistics.median(x[0] / y[0] for x, y in zip(results[a], results[b]))
    size = os.path.getsize(args.tar) / 1e6
    print(f"\n{size:.0f} MB in the tar, disk of {args.gib} GiB, on {kind}; {processor()}, {os.cpu_count()} threads, {platform.system()} {platform.release()}; medians of {args.runs} runs in turn\n")
    print("| way | wall s | CPU s | peak MiB | wall, as a multiple of rootvol's from the tar (median of pairs; least, most) |\n|---|---|---|---|---|")
    base = results["rootvol, from the tar"]
    for name, figures in results.items():
        wall, cpu, peak = (statistics.median(f[i] for f in figures) for i in range(3))
        ratios = sorted(f[0] / b[0] for f, b in zip(figures, base))
        print(f"| {name} | {wall:.2f} | {cpu:.2f} | {peak:.0f} | {statistics.median(ratios):.2f} ({ratios[0]:.2f}, {ratios[-1]:.2f}) |")
    print()
    if "tar + chain" in results:
        print(f"- tar to VHD: {ratio('tar + chain', 'rootvol, from the tar'):.1f} times faster than the chain")
        print(f"- tree to VHD: {ratio('chain, from the tree', 'rootvol, from the tree'):.1f} times faster than the chain")
    print(f"- 1 TiB takes {ratio('rootvol, disk of 1 TiB', 'rootvol, disk of 10 GiB'):.2f} times as long as 10 GiB with the same contents")


if __name__ == "__main__":
    main()
