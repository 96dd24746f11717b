#!/usr/bin/env python3
"""Lint of a tree of 20,000 files and 500 MB, beside reading it once.

    tree   a directory: `rootvol lint DIR`
    image  an ext4 image of it: `rootvol lint IMAGE`, beside `rootvol ls --hash`, which reads every file

The limit is every file read once by a program that does nothing else (benches/peers/tools, made by benches/peers.sh), else GNU tar into cat.
Everything is in the page cache. Random text has none of the shapes that are looked at more closely; --work FOLDER with a tree of your own tells more.
"""
import os
from inputs import make_input
from jobs import arguments, run_all
from measure import in_turn, sh, skipped, table


def reading(args, tree):
    if os.access(f"{args.peers}/tools", os.X_OK):
        return f"{args.peers}/tools read {tree} 2"
    skipped("tools, which benches/peers.sh makes; GNU tar reads instead")
    return f"tar -C {tree} -cf - . | cat >/dev/null"


def tree(args, folder):
    tree, _ = make_input("e", None, folder, args.scale)
    ways = {"rootvol lint": f'{args.rootvol} lint {tree} >"$OUT/found" || [ $? = 1 ]', "reading every file once": reading(args, tree)}
    print("\n## lint: a directory of 20,000 files, 500 MB", flush=True)
    results, failures = in_turn(f"{folder}/work", ways, args.runs, args.timeout)
    table(results, failures, lambda name: "rootvol lint")


def image(args, folder):
    tree, _ = make_input("e", None, folder, args.scale)
    disk = f"{folder}/disk.raw"
    sh(args.rootvol, "build", tree, "--owner", "0:0", "--boot", "none", "--name", "e", "-o", disk, "--quiet")
    ways = {
        "rootvol lint": f'{args.rootvol} lint {disk} >"$OUT/found" || [ $? = 1 ]',
        "rootvol ls --hash": f'{args.rootvol} ls {disk} -R --hash >"$OUT/list"',
        "reading the disk once": f"cat {disk} >/dev/null",
    }
    print("\n## lint: an image of it", flush=True)
    results, failures = in_turn(f"{folder}/work", ways, args.runs, args.timeout)
    table(results, failures, lambda name: "rootvol lint")


JOBS = {"tree": tree, "image": image}

if __name__ == "__main__":
    run_all(arguments(__doc__, JOBS), JOBS)
