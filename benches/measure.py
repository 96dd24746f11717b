"""What the benches share: commands measured in turn, medians, ratios, tables, skips.

A way is a command: words, or a line for `sh -ec`. Each runs in a fresh folder, whose path is in the environment as OUT, with its
filesystem synced before it. A figure is (wall seconds, CPU seconds of all processes: user + system, peak memory of the largest process in MiB).
"""
import json, os, platform, shutil, statistics, subprocess, sys

MIB, GIB = 1 << 20, 1 << 30
SLOW = 15  # seconds: what takes longer is measured once

# Small, because what a process starts inherits its peak of memory (some 9 MiB are this program's own).
LAUNCHER = """
import os, sys, time
start = time.monotonic()
pid = os.posix_spawn("/usr/bin/timeout", ["timeout", *sys.argv[1:]], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, 1, 2)])
_, status, usage = os.wait4(pid, 0)
print(f"\\n[{os.waitstatus_to_exitcode(status)}, {time.monotonic() - start}, {usage.ru_utime + usage.ru_stime}, {usage.ru_maxrss / 1024}]", end="")
"""


def missing(*tools):
    return [t for t in tools if not shutil.which(t)]


def skipped(what):
    print(f"SKIPPED: {what}", flush=True)


def sh(*command):
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr.decode(errors='replace').strip()}")


def processor():
    try:
        with open("/proc/cpuinfo") as f:
            return next(line.split(":")[1].strip() for line in f if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def machine(folder, runs):
    """One line: where it ran. The load is that of the others at the start."""
    kind = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True).stdout.strip() or "?"
    load = os.getloadavg()[0]
    return f"on {kind}; {processor()}, {os.cpu_count()} threads, {platform.system()} {platform.release()}; load at the start {load:.1f}; medians of {runs} runs in turn"


def measured(work, command, timeout=900):
    """Runs a command: its figures, and what it said where it failed."""
    sh("rm", "-rf", work)
    os.mkdir(work)
    sh("sync", "-f", work)
    words = ["sh", "-ec", command] if isinstance(command, str) else command
    environment = os.environ | {"OUT": work}
    done = subprocess.run([sys.executable, "-SE", "-c", LAUNCHER, str(timeout), *words], capture_output=True, text=True, stdin=subprocess.DEVNULL, env=environment)
    said, _, figures = done.stdout.rpartition("\n")
    code, *figures = json.loads(figures)
    last = (said.strip() or done.stderr.strip()).splitlines()[-1:]
    return tuple(figures), f"> {timeout} s" if code == 124 else f"{''.join(last)} (status {code})" if code else None


def in_turn(work, ways, runs, timeout=900, first=None):
    """All figures by way, and why where there are none.

    Every way runs once before it counts (`first` is told its name then: what it made still lies there), then they take turns.
    Where one run is asked for, the first is it.
    """
    results, failures = {}, {}
    for name, command in ways.items():
        figures, failure = measured(work, command, timeout)
        if failure:
            failures[name] = failure
            continue
        if first:
            first(name)
        results[name] = [figures] * runs if figures[0] > SLOW or runs == 1 else []
    for _ in range(runs):
        for name in [name for name, figures in results.items() if len(figures) < runs]:
            figures, failure = measured(work, ways[name], timeout)
            if failure:
                sys.exit(f"{name}: {failure}")
            results[name].append(figures)
    return results, failures


def median(figures, which=0):
    return statistics.median(f[which] for f in figures)


def ratios(figures, base, which=0):
    """Neighbouring runs' ratios to the base: the median, the least, the most."""
    found = sorted(f[which] / b[which] for f, b in zip(figures, base) if b[which])
    return (statistics.median(found), found[0], found[-1]) if found else (0.0, 0.0, 0.0)


def table(results, failures, base_of):
    """Prints the Markdown table of ways; `base_of` tells which way each is compared with."""
    print("\n| way | wall s (least) | CPU s | peak MiB | wall, times rootvol's (median of pairs; least, most) | CPU |\n|---|---|---|---|---|---|")
    for name in [*results, *failures]:
        if name in failures:
            print(f"| {name} | {failures[name]} | | | | |")
            continue
        figures, base = results[name], results[base_of(name)]
        wall, least, most = ratios(figures, base)
        print(f"| {name} | {median(figures):.2f} ({min(f[0] for f in figures):.2f}) | {median(figures, 1):.2f} | {median(figures, 2):.0f} "
              f"| {wall:.2f} ({least:.2f}, {most:.2f}) | {ratios(figures, base, 1)[0]:.2f} |")
    sys.stdout.flush()
