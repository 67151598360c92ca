#!/usr/bin/env python3
"""Every test and fuzz target that docs/SECURITY.md leans on exists: a promise whose test is gone is no promise."""
import fnmatch
import re

from common import ROOT, finish, read, sources

TEST = re.compile(r"^TEST(?:_[FP])?\(\s*(\w+),\s*(\w+)", re.MULTILINE)
MENTION = re.compile(r"`([A-Z]\w*)[./]([\w*]+)`")


def problems():
    tests = set()
    names = set()
    for path in sources(".cc"):
        text = read(path)
        tests.update(".".join(found) for found in TEST.findall(text))
        names.update(re.findall(r'"(\w+)"', text) if path.stem.endswith("_test") else ())
    document = read(ROOT / "docs/SECURITY.md")
    for suite, test in MENTION.findall(document):
        if fnmatch.filter(tests, f"{suite}.{test}"):
            continue
        # Suite/Parameter of a parameterized test.
        if test in names and fnmatch.filter(tests, f"{suite}.*"):
            continue
        yield f"docs/SECURITY.md: there is no test {suite}.{test}"
    for fuzzer in re.findall(r"`(\w+_fuzz)`", document):
        if not list(ROOT.glob(f"*/**/{fuzzer}.cc")):
            yield f"docs/SECURITY.md: there is no fuzz target {fuzzer}"


finish(list(problems()), "the page says which test holds each promise; rename the test there too, or write it.")
