#!/usr/bin/env python3
"""The whole way, side by side: rootvol against the chain of other tools.

    benches/whole.py rootfs.tar [--runs 5] [--work DIR] [--rootvol target/release/rootvol]

Both start from the same root filesystem and end with the same things: a GPT disk with an EFI system partition and an
ext4 root in a dynamic VHD, and the SHA-256 of every 512-KiB block that is not zero.

    rootvol    rootvol build rootfs.tar -o disk.vhd
    chain      mkfs.vfat + mcopy, mke2fs -d, sgdisk, qemu-img convert -O vpc, hashing with two threads. It starts from the
               unpacked tree (tar -x is not counted, which favours the chain).
    chain+tar  the same with tar -x counted, as the chain needs it with a tar.
    floor      the tar read and hashed in blocks, nothing written: what hashing alone costs here.

Runs alternate, and medians and the ratios of pairs are printed as a Markdown table: wall seconds, CPU seconds
(user + system, all processes) and peak memory (the largest process). Put --work on a tmpfs to leave the disk out.
A 1-TiB disk and a 10-GiB disk with the same contents are compared too. What is missing is a visible skip.
"""
import argparse, concurrent.futures, hashlib, os, platform, resource, shutil, statistics, subprocess, sys, tempfile, time

BLOCK = 512 * 1024
ZERO = bytes(BLOCK)


def hash_blocks(path):
    """SHA-256 of each block that is not zero, with two threads (hashlib lets go of the interpreter's lock)."""
    def one(data):
        return hashlib.sha256(data).digest()
    digests = 0
    with open(path, "rb") as f, concurrent.futures.ThreadPoolExecutor(2) as pool:
        pending = []
        while data := f.read(BLOCK):
            if data != ZERO[: len(data)]:
                pending.append(pool.submit(one, data))
                digests += 1
            while len(pending) > 8:
                pending.pop(0).result()
        for p in pending:
            p.result()
    return digests


def sh(*command, **options):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)


def chain(args, tree, work):
    raw, esp, root, vhd = (os.path.join(work, n) for n in ("disk.raw", "esp.img", "root.img", "disk.vhd"))
    esp_mib = 128
    total_mib = 1024 * args.gib
    root_mib = total_mib - 1 - esp_mib - 1
    with open(esp, "wb") as f:
        f.truncate(esp_mib << 20)
    sh("mkfs.vfat", "-F", "32", "-s", "1", "-n", "ESP", esp)
    boot = os.path.join(tree, "boot")
    payload = [os.path.join(boot, n) for n in sorted(os.listdir(boot)) if n.startswith(("vmlinuz", "initrd"))]
    sh("mmd", "-i", esp, "::/EFI", "::/EFI/BOOT")
    for p in payload:
        sh("mcopy", "-i", esp, p, "::/EFI/BOOT/")
    with open(root, "wb") as f:
        f.truncate(root_mib << 20)
    sh("mke2fs", "-q", "-t", "ext4", "-d", tree, root)
    with open(raw, "wb") as f:
        f.truncate(total_mib << 20)
    sh("sgdisk", "-n", f"1:2048:+{esp_mib}M", "-t", "1:ef00", "-n", f"2:{(1 + esp_mib) * 2048}:+{root_mib}M", "-t", "2:8304", raw)
    for part, at in ((esp, 1), (root, 1 + esp_mib)):
        sh("dd", f"if={part}", f"of={raw}", "bs=1M", f"seek={at}", "conv=notrunc,sparse")
    sh("qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", "subformat=dynamic,force_size=on", raw, vhd)
    # The blocks of the disk, as an upload needs them.
    sh(sys.executable, __file__, "--hash", raw)


def measured(work, command):
    """Runs a Python callable in a child; wall and CPU seconds and the peak of its largest process in MiB."""
    for name in os.listdir(work):
        os.remove(os.path.join(work, name))
    read, write = os.pipe()
    start = time.monotonic()
    pid = os.fork()
    if pid == 0:
        try:
            command()
            os._exit(0)
        except BaseException as e:
            print(e, file=sys.stderr)
            os._exit(1)
    _, status, usage = os.wait4(pid, 0)
    wall = time.monotonic() - start
    os.close(read), os.close(write)
    if status:
        sys.exit("a measured command failed")
    # wait4 gives the child and its own waited-for children.
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
        hash_blocks(args.hash)
        return
    if not args.tar:
        a.error("a tar is needed")
    top = tempfile.mkdtemp(prefix="rootvol-bench.", dir=args.work)
    work, tree = os.path.join(top, "work"), os.path.join(top, "tree")
    os.mkdir(work), os.mkdir(tree)
    try:
        run(args, work, tree)
    finally:
        shutil.rmtree(top)


def run(args, work, tree):
    tar = os.path.abspath(args.tar)
    tool = os.path.abspath(args.rootvol)
    size = f"{args.gib} GiB"
    out = os.path.join(work, "disk.vhd")
    build = lambda *more: (lambda: sh(tool, "build", tar, "-o", out, "--quiet", *more))
    ways = {"rootvol": build("--size", size)}
    # Where the processor's own limit is: the same bytes read and hashed, nothing written.
    ways["floor"] = lambda: hash_blocks(tar)
    missing = [t for t in ("mke2fs", "sgdisk", "mkfs.vfat", "mcopy", "mmd", "qemu-img", "tar") if not shutil.which(t, path=os.environ["PATH"] + ":/usr/sbin:/sbin")]
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    os.environ["MTOOLS_SKIP_CHECK"] = "1"
    if missing:
        print(f"SKIPPED: the chain, without {', '.join(missing)}")
    elif os.geteuid() != 0:
        print("SKIPPED: the chain needs root to unpack owners and devices")
    else:
        unpack = lambda to: sh("tar", "-C", to, "--xattrs", "--xattrs-include=*", "-xpf", tar)
        unpack(tree)
        def with_tar():
            fresh = tempfile.mkdtemp(dir=os.path.dirname(work))
            try:
                unpack(fresh)
                chain(args, fresh, work)
            finally:
                shutil.rmtree(fresh)
        ways["chain"] = lambda: chain(args, tree, work)
        ways["chain+tar"] = with_tar
    ways["10 GiB"] = build("--size", "10 GiB")
    ways["1 TiB"] = build("--size", "1 TiB")
    results = {name: [] for name in ways}
    for turn in range(args.runs + 1):
        for name, command in ways.items():
            figures = measured(work, command)
            if turn:  # the first turn warms the page cache
                results[name].append(figures)
    cpu = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.processor()) if os.path.exists("/proc/cpuinfo") else platform.processor()
    print(f"\n{os.path.basename(tar)}, {os.path.getsize(tar) / 1e6:.0f} MB; {cpu}, {os.cpu_count()} threads; {args.runs} runs in turn, medians\n")
    print("| way | wall s | CPU s | peak MiB | wall, times rootvol (pairs: min – median – max) |\n|---|---|---|---|---|")
    base = results["rootvol"]
    for name, figures in results.items():
        med = [statistics.median(f[i] for f in figures) for i in range(3)]
        ratios = sorted(f[0] / b[0] for f, b in zip(figures, base))
        print(f"| {name} | {med[0]:.2f} | {med[1]:.2f} | {med[2]:.0f} | {ratios[0]:.2f} – {statistics.median(ratios):.2f} – {ratios[-1]:.2f} |")
    tib = sorted(t[0] / g[0] for t, g in zip(results["1 TiB"], results["10 GiB"]))
    print(f"\n1 TiB disk / 10 GiB disk with the same contents: {statistics.median(tib):.2f} times as long")


if __name__ == "__main__":
    main()
