#!/usr/bin/env python3
"""Tests do not sleep to synchronise, and one that skips itself says why (GTEST_SKIP() << "reason")."""
import re

from common import finish, read, sources

RULES = ((re.compile(r"\bsleep_for\b|\busleep\(|\bnanosleep\(|[^_\w]sleep\(\d"), "sleeps"),
         (re.compile(r"GTEST_SKIP\(\)\s*;|\bDISABLED_"), "is disabled, or skipped without saying why"))


def problems():
    for path in sources(".cc", ".h"):
        name = path.as_posix()
        if not (path.stem.endswith("_test") or name.startswith("netns-tests/")):
            continue
        for number, line in enumerate(read(path).splitlines(), 1):
            for pattern, what in RULES:
                if pattern.search(line) and "lint:allow" not in line:
                    yield f"{path}:{number}: {what}"


finish(list(problems()), "a sleep is a race with a margin; wait for the event with a deadline instead (eventually()).")
