#!/usr/bin/env python3
"""Every x.cc has an x_test.cc beside it, or a line in missing_tests.txt that says where it is tested instead."""
from common import ROOT, finish, sources


def exceptions():
    for line in (ROOT / ".ci/lint/missing_tests.txt").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            path, _, reason = line.partition(" ")
            yield path, reason.strip()


def problems():
    excused = dict(exceptions())
    used = set()
    for path in sources(".cc", folders=("daemon", "store", "bpf")):
        if path.stem.endswith(("_test", "_fuzz", "_bench", "_main")) or path.stem == "main":
            continue
        has_test = (ROOT / path.with_name(path.stem + "_test.cc")).exists()
        name = path.as_posix()
        if name in excused:
            used.add(name)
            if has_test:
                yield f"{name}: has a test now; remove its line from .ci/lint/missing_tests.txt"
            elif not excused[name]:
                yield f"{name}: its line in .ci/lint/missing_tests.txt gives no reason"
        elif not has_test:
            yield f"{name}: no {path.stem}_test.cc beside it and no reason in .ci/lint/missing_tests.txt"
    for name in sorted(set(excused) - used):
        yield f".ci/lint/missing_tests.txt: {name} does not exist"


finish(list(problems()), "code without a test beside it is code nobody has seen fail.")
