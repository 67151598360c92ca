#!/usr/bin/env python3
"""clang-format 19 has nothing to change in our C++ and BPF sources (`make format` fixes it)."""
import shutil
import subprocess

from common import ROOT, finish, sources


def problems():
    if shutil.which("clang-format-19") is None:
        return ["clang-format-19 is not installed: run `make lint` as root once, or apt-get install clang-format-19"]
    files = [str(path) for path in sources(".cc", ".h", ".c")]
    bad = []
    for start in range(0, len(files), 50):
        run = subprocess.run(["clang-format-19", "--dry-run", *files[start:start + 50]], cwd=ROOT,
                             capture_output=True, text=True, check=False)
        bad += sorted({line.split(":")[0] for line in run.stderr.splitlines() if "-Wclang-format-violations" in line})
    return [f"{path}: not formatted" for path in bad]


finish(problems(), "a diff shows what changed, not how somebody likes to indent.")
