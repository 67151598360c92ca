#!/usr/bin/env python3
"""Every x.cc has an x_test.cc beside it, or is a part of something that has (x_part.cc: x_test.cc), or its header is used
by a test of its folder, or it has a line in missing_tests.txt that says where it is tested instead."""
from common import ROOT, finish, sources


def exceptions():
    for line in (ROOT / ".ci/lint/missing_tests.txt").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            path, _, reason = line.partition(" ")
            yield path, reason.strip()


def is_tested(path):
    words = path.stem.split("_")
    header = path.with_suffix(".h").as_posix()
    for test in (ROOT / path.parent).rglob("*_test.cc"):
        if f'"{header}"' in test.read_text(encoding="utf-8"):
            return True
    stems = ("_".join(words[:count]) for count in range(len(words), 0, -1))
    return any((ROOT / path.with_name(stem + "_test.cc")).exists() for stem in stems)


def problems():
    excused = dict(exceptions())
    used = set()
    for path in sources(".cc", folders=("daemon", "store", "bpf")):
        if path.stem.endswith(("_test", "_fuzz", "_bench", "_main")) or path.stem == "main":
            continue
        has_test = is_tested(path)
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
