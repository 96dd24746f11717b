#!/usr/bin/env python3
"""Whole jobs, side by side: rootvol against every tool that does the same or a part of it, and against the limits.

    benches/peers.sh && benches/jobs.py rootfs.tar --work /dev/shm [--jobs debian,small] [--runs 5] [--quick]

    debian     the tar of a Debian tree into GPT + ESP + ext4, disk of 2 GiB
    deep       a tar of a directory of 50,000 entries, 1,000 nested, 20,000 hard and 20,000 symbolic links, into ext4
    small      a tar of 100,000 files of 0 to 8 KiB, into ext4
    directory  the same from the directory
    checksum   the SHA-256 of every 512-KiB block of an image of 4 GiB

rootvol always makes the SHA-256 of every block too, the report and the list of checksums; in `debian` also the documents of an
import, without lint, which no other tool has (benches/lint.py). The chain ends with the same: sfdisk, mkfs.vfat and mcopy, mke2fs -d (a tar) straight into its partition, qemu-img
convert, then the blocks hashed by two threads, holes passed over. Where there is a choice it has the better part: kernel and
initrd lie ready for its ESP, and it makes no loader, no configuration, no fstab and no documents. Nobody else makes checksums
of blocks; tar2ext4 and genext2fs make no journal either. Products are judged by `benches/ext4.py` and the tests, not here.

Limits: `cp --sparse=always` of the result; `cat` of the tar, or every file read once by a program that does nothing else
(benches/peers/tools); the blocks hashed by `rootvol checksum`. Everything is in the page cache; --work says where it lies.
What is missing is a visible skip. Runs take turns, with a sync before each; what takes over 15 s is measured once. --quick
makes small inputs: that the bench works, not how fast anything is.
"""
import argparse, os, shutil, signal, subprocess, sys, tempfile
import inputs
from measure import GIB, MIB, in_turn, machine, median, missing, ratios, sh, skipped, table

ESP_MIB = 128
REPART = """[Partition]
Type=esp
Format=vfat
SizeMinBytes={esp}M
SizeMaxBytes={esp}M

[Partition]
Type=root
Format=ext4
CopyFiles={tree}:/
"""


class Job:
    """One job: its ways, what is aimed at, what limits it."""

    def __init__(self, args, name, title, base):
        self.args, self.name, self.title, self.base = args, name, title, base
        self.ways, self.aims, self.limits = {}, [], []

    def way(self, name, command, *tools, root=False):
        """A command, unless what it needs is not there."""
        lacks = missing(*tools) + (["root"] if root and os.geteuid() else [])
        if lacks:
            skipped(f"{self.name}: {name}: without {', '.join(lacks)}")
        else:
            self.ways[name] = command

    def limit(self, name, command, *tools):
        self.way(name, command, *tools)
        self.limits.append(name)

    def faster(self, than, times, ours=None):
        """An aim: at least so many times faster."""
        self.aims.append((ours or self.base, than, times, True))

    def within(self, of, times, ours=None):
        """An aim: at most so many times as long."""
        self.aims.append((ours or self.base, of, times, False))

    def run(self, top):
        print(f"\n## {self.name}: {self.title}", flush=True)
        results, failures = in_turn(os.path.join(top, "work"), self.ways, self.args.runs, self.args.timeout)
        if self.base not in results:
            sys.exit(f"{self.name}: {self.base}: {failures.get(self.base)}")
        table(results, failures, lambda _: self.base)
        told = []
        for ours, other, times, faster in self.aims:
            aim = f"{'at least' if faster else 'at most'} {times} times {'faster than' if faster else 'as long as'} {other}"
            if other in failures:
                told.append((ours, aim, f"{other}: {failures[other]}" + (f", so more than {self.args.timeout / median(results[ours]):.0f}" if failures[other].startswith(">") else "")))
            elif other not in results or ours not in results:
                told.append((ours, aim, "SKIPPED"))
            else:
                pair = (results[other], results[ours]) if faster else (results[ours], results[other])
                wall, least, most = ratios(*pair)
                told.append((ours, aim, f"{wall:.2f} ({least:.2f} to {most:.2f}); CPU seconds {ratios(*pair, 1)[0]:.2f}"))
        if told:
            print("\n| way | aim | here, in wall time (least to most) |\n|---|---|---|")
        for line in told:
            print(f"| {' | '.join(line)} |")
        held = [name for name in self.limits if name in results and median(results[name])]
        if held:
            print("\n" + "; ".join(f"{ratios(results[self.base], results[name])[0]:.2f} times {name}" for name in held) + f": {self.base}")
        sys.stdout.flush()


# ---- the ways that several jobs share

def bare(args, source, size_mib, *more):
    return [args.rootvol, "build", source, "-o", "/dev/stdout", "--quiet", "--table", "none", "--boot", "none", "--name", "bench", "--size", f"{size_mib} MiB", *more]


def to_file(command, name="image.raw"):
    """The command's line with its output in the fresh folder."""
    return " ".join(f"'{word}'" for word in command).replace("'/dev/stdout'", f'"$OUT/{name}"')


def others(job, tar, tree, size_mib):
    """Those that make a filesystem and nothing else, from the tar or, where they take none, from the tree."""
    args = job.args
    job.way("tar2ext4", f'tar2ext4 -i {tar} -o "$OUT/image"', "tar2ext4")
    # 1.47.4 has two features more by default, which cost it nothing; off, so that all make the same.
    job.way("mke2fs -d tar", f'{mke2fs(args)} -q -F -t ext4 -O ^metadata_csum_seed,^orphan_file -d {tar} "$OUT/image" {size_mib}M', mke2fs(args))
    job.way("genext2fs (ext2)", f'genext2fs -B 4096 -b {size_mib * 256} -N {size_mib * 64} -a {tar} "$OUT/image"', "genext2fs")
    mount = f'truncate -s {size_mib}M "$OUT/image"; mke2fs -q -F -t ext4 "$OUT/image"; mkdir "$OUT/mount"; mount -o loop "$OUT/image" "$OUT/mount"; '
    mount += f'trap \'umount "$OUT/mount"\' EXIT; tar -C "$OUT/mount" --xattrs --xattrs-include=* -xpf {tar}'
    job.way("loop mount + tar -x", mount, "mke2fs", "mount", "tar", root=True)
    job.way("mkext4 (from the directory)", f'mkext4 {tree} "$OUT/image" {size_mib * MIB}', "mkext4")


def mke2fs(args):
    """The one that takes a tar, which benches/peers.sh makes; else a name that is nowhere."""
    path = os.path.join(args.peers, "mke2fs")
    return path if os.access(path, os.X_OK) else "mke2fs≥1.47.2 (benches/peers.sh)"


def chain(args, tar, boot, size_mib, subformat):
    root_mib, offset = size_mib - ESP_MIB - 2, ESP_MIB + 1
    return f"""cd "$OUT"; truncate -s {ESP_MIB}M esp; truncate -s {size_mib}M disk
mkfs.vfat -F 32 -s 1 -n ESP esp; mmd -i esp ::/EFI ::/EFI/BOOT; for file in {boot}/*; do [ ! -e "$file" ] || mcopy -i esp "$file" ::/EFI/BOOT/; done
printf 'label: gpt\\nstart=1MiB, size={ESP_MIB}MiB, type=uefi\\nstart={offset}MiB, size={root_mib}MiB, type=linux\\n' | sfdisk -q disk
dd if=esp of=disk bs=1M seek=1 conv=notrunc,sparse
{mke2fs(args)} -q -F -t ext4 -E offset={offset << 20} -d {tar} disk {root_mib}M
qemu-img convert -f raw -O vpc -o subformat={subformat},force_size=on disk disk.vhd
{args.peers}/tools blocks disk 2"""


CHAIN = ("mkfs.vfat", "mmd", "mcopy", "sfdisk", "dd", "qemu-img")


# ---- jobs

def debian(args, top):
    if not args.tar:
        return skipped("debian: without a tar")
    size, job = 2048, Job(args, "debian", f"a tar of {os.path.getsize(args.tar) / 1e6:.0f} MB → GPT + ESP + ext4, 2 GiB", "rootvol, dynamic VHD")
    # Beside the output, so that --work says where everything lies.
    tar, tree, boot = shutil.copy(args.tar, os.path.join(top, "debian.tar")), os.path.join(top, "tree"), os.path.join(top, "boot")
    os.mkdir(tree), os.mkdir(boot)
    sh("tar", "-C", tree, "--xattrs", "--xattrs-include=*", *([] if os.geteuid() == 0 else ["--exclude=./dev"]), "-xpf", tar)
    for name in os.listdir(f"{tree}/boot") if os.path.isdir(f"{tree}/boot") else []:
        if name.startswith(("vmlinuz", "initrd")):
            shutil.copy(f"{tree}/boot/{name}", boot)
    build = lambda name, *more: to_file([args.rootvol, "build", tar, "-o", "/dev/stdout", "--quiet", "--size", f"{size} MiB", "--bucket", "bench", "--key", "image.vhd", "--no-lint", *more], name)
    job.way(job.base, build("disk.vhd"))
    job.way("rootvol, fixed VHD", build("disk.vhd", "--format", "vhd-fixed"))
    job.way("rootvol, dynamic VHD, one thread", build("disk.vhd", "--threads", "1"))
    sh(args.rootvol, "build", tar, "-o", f"{top}/result.raw", "--quiet", "--size", f"{size} MiB")
    for name, subformat in (("dynamic", "dynamic"), ("fixed", "fixed")):
        job.way(f"chain, {name} VHD", chain(args, tar, boot, size, subformat), *CHAIN, mke2fs(args), f"{args.peers}/tools")
    others(job, tar, tree, size - ESP_MIB - 2)
    definitions = os.path.join(top, "repart")
    os.mkdir(definitions)
    for name, text in zip(("10-esp", "20-root"), REPART.format(esp=ESP_MIB, tree=tree).split("\n\n")):
        inputs.write(f"{definitions}/{name}.conf", text.encode())
    # Its ESP stays empty: filling it takes a kernel that mounts vfat.
    job.way("systemd-repart (from the directory)", f'systemd-repart --definitions={definitions} --empty=create --size={size}M --dry-run=no "$OUT/disk"', "systemd-repart", root=True)
    if not args.quick:
        job.way("one step of them: qemu-img convert, dynamic", f'qemu-img convert -f raw -O vpc -o subformat=dynamic,force_size=on {top}/result.raw "$OUT/disk.vhd"', "qemu-img")
        job.way("one step: blocks as uploaders hash them, 2 threads", f"tools blocks {top}/result.raw 2", "tools")
        job.way("one step: sha256sum of the result", f"sha256sum {top}/result.raw", "sha256sum")
    job.limit("cp --sparse=always of the result", f'cp --sparse=always {top}/result.raw "$OUT/copy"', "cp")
    job.limit("reading the tar (cat)", f"cat {tar} >/dev/null", "cat")
    lanes(job, f"{top}/result.raw")
    job.faster("chain, dynamic VHD", 6), job.faster("chain, fixed VHD", 6, "rootvol, fixed VHD"), job.faster("tar2ext4", 2)
    job.within("cp --sparse=always of the result", 1.5), job.within("cp --sparse=always of the result", 1.5, "rootvol, fixed VHD")
    job.run(top)


def lanes(job, image):
    """SHA-256 of the same blocks at the best rate there is, on all cores."""
    if has_checksum(job.args):
        job.limit("SHA-256 of its blocks (rootvol checksum)", [job.args.rootvol, "checksum", image])
    else:
        skipped(f"{job.name}: the limit of hashing: this rootvol has no command `checksum`")


def has_checksum(args):
    return subprocess.run([args.rootvol, "checksum", "--help"], capture_output=True).returncode == 0


def deep(args, top):
    job = Job(args, "deep", "a tar of a directory of 50,000 entries, 1,000 nested, 20,000 hard links, 20,000 symbolic links → ext4, 2 GiB", "rootvol")
    tree, tar = inputs.make_input("d", None, top, args.scale)
    job.way(job.base, to_file(bare(args, tar, 2048)))
    job.way("rootvol, one thread", to_file(bare(args, tar, 2048, "--threads", "1")))
    others(job, tar, tree, 2048)
    sh(*[word.replace("/dev/stdout", f"{top}/result.raw") for word in bare(args, tar, 2048)])
    job.limit("cp --sparse=always of the result", f'cp --sparse=always {top}/result.raw "$OUT/copy"', "cp")
    job.limit("reading the tar (cat)", f"cat {tar} >/dev/null", "cat")
    job.faster("tar2ext4", 8), job.faster("mke2fs -d tar", 60)
    job.run(top)


def small(args, top):
    title = "a tar of 100,000 files of 0 to 8 KiB in 1,000 directories → ext4, 2 GiB"
    job = Job(args, "small", title, "rootvol")
    tree, tar = inputs.make_input("b", None, top, args.scale)
    job.way(job.base, to_file(bare(args, tar, 2048)))
    job.way("rootvol, one thread", to_file(bare(args, tar, 2048, "--threads", "1")))
    job.way("rootvol, GPT + ESP + ext4 in a VHD", to_file([args.rootvol, "build", tar, "-o", "/dev/stdout", "--quiet", "--size", "2 GiB", "--name", "bench"], "disk.vhd"))
    job.way("chain, dynamic VHD", chain(args, tar, f"{top}/no-boot", 2048, "dynamic"), *CHAIN, mke2fs(args), f"{args.peers}/tools")
    others(job, tar, tree, 2048)
    sh(*[word.replace("/dev/stdout", f"{top}/result.raw") for word in bare(args, tar, 2048)])
    job.limit("cp --sparse=always of the result", f'cp --sparse=always {top}/result.raw "$OUT/copy"', "cp")
    job.limit("reading the tar (cat)", f"cat {tar} >/dev/null", "cat")
    lanes(job, f"{top}/result.raw")
    job.faster("genext2fs (ext2)", 3), job.faster("chain, dynamic VHD", 5, "rootvol, GPT + ESP + ext4 in a VHD")
    job.run(top)


def directory(args, top):
    job = Job(args, "directory", "a directory of 100,000 files of 0 to 8 KiB in 1,000 directories → ext4, 2 GiB", "rootvol")
    tree, tar = inputs.make_input("b", None, top, args.scale)
    os.remove(tar)
    job.way(job.base, to_file(bare(args, tree, 2048)))
    job.way("rootvol, one thread", to_file(bare(args, tree, 2048, "--threads", "1")))
    job.way("rootvol plan: the scan alone", [args.rootvol, "plan", tree, "--table", "none", "--boot", "none", "--name", "bench", "--size", "2 GiB"])
    job.way("mke2fs -d directory", f'{mke2fs(args)} -q -F -t ext4 -d {tree} "$OUT/image" 2G', mke2fs(args))
    job.way("mkext4", f'mkext4 {tree} "$OUT/image" {2 * GIB}', "mkext4")
    job.limit("reading it with GNU tar", f"tar -C {tree} -cf - . | cat >/dev/null", "tar")
    for threads, name in ((1, "each file read once, one thread"), (2, "each file read once, two threads")):
        job.limit(name, f"tools read {tree} {threads}", "tools")
    # The chain, as far as there is one: listing, reading, one copy.
    job.limit("cp -r of the directory", f'cp -r {tree} "$OUT/copy"', "cp")
    job.within("reading it with GNU tar", 1.3), job.within("each file read once, one thread", 1.3)
    job.run(top)


def checksum(args, top):
    if not has_checksum(args):
        return skipped("checksum: this rootvol has no command `checksum`")
    size = 4 * GIB // args.scale
    job = Job(args, "checksum", f"SHA-256 of every block of {size / GIB:.2g} GiB of data", "rootvol checksum, 2 threads")
    image = f"{top}/image.raw"
    with open(image, "wb") as to:
        data = open(args.tar, "rb").read() if args.tar else os.urandom(64 * MIB)
        while to.tell() < size:
            to.write(data[: size - to.tell()])
    for threads in (2, 1, 4):
        job.way(f"rootvol checksum, {threads} thread{'s' if threads > 1 else ''}", [args.rootvol, "checksum", "--input-format", "raw", "--threads", str(threads), image])
    job.way("sha256sum", f"sha256sum {image}", "sha256sum")
    job.way("openssl dgst -sha256", f"openssl dgst -sha256 {image}", "openssl")
    half = size // 2 // MIB
    job.way("openssl, two halves at once", f"dd if={image} bs=1M count={half} status=none | openssl dgst -sha256 & dd if={image} bs=1M skip={half} status=none | openssl dgst -sha256; wait", "openssl", "dd")
    job.way("blocks as uploaders hash them, 1 thread", f"tools blocks {image} 1", "tools")
    job.way("blocks as uploaders hash them, 2 threads", f"tools blocks {image} 2", "tools")
    job.limit("reading it (cat)", f"cat {image} >/dev/null", "cat")
    for other in ("sha256sum", "openssl dgst -sha256"):
        job.faster(other, 2.5)
    job.run(top)


JOBS = {job.__name__: job for job in (debian, deep, small, directory, checksum)}


def arguments(doc, choices):
    a = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("tar", nargs="?")
    a.add_argument("--jobs", default=",".join(choices))
    a.add_argument("--runs", type=int, default=5)
    a.add_argument("--quick", action="store_true")
    a.add_argument("--timeout", type=int, default=120, help="seconds after which a way is given up")
    a.add_argument("--work")
    here = os.path.dirname(os.path.abspath(__file__))
    a.add_argument("--peers", default=os.path.join(here, "../target/peers"))
    a.add_argument("--rootvol", default="target/release/rootvol")
    args = a.parse_args()
    if unknown := set(args.jobs.split(",")) - set(choices):
        a.error(f"no job {', '.join(sorted(unknown))}; there are {', '.join(choices)}")
    args.rootvol, args.peers = os.path.abspath(args.rootvol), os.path.abspath(args.peers)
    args.scale = 50 if args.quick else 1
    os.environ["PATH"] += f":/usr/sbin:/sbin:{args.peers}"
    os.environ["MTOOLS_SKIP_CHECK"] = "1"
    return args


def run_all(args, jobs):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # so that what lies in --work goes
    top = tempfile.mkdtemp(prefix="rootvol-bench.", dir=args.work)
    try:
        print(machine(top, args.runs))
        for name in args.jobs.split(","):
            folder = os.path.join(top, name)
            os.mkdir(folder)
            jobs[name](args, folder)
            sh("rm", "-rf", folder)
    finally:
        sh("rm", "-rf", top)


if __name__ == "__main__":
    run_all(arguments(__doc__, JOBS), JOBS)
