#!/usr/bin/env python3
"""Every tapdeck_* metric named in the sources is documented in docs/METRICS.md, and the other way round; and every
counter, gauge and histogram is counted somewhere."""
import re

from common import ROOT, finish, read, sources

NAME = re.compile(r"\btapdeck_[a-z0-9_]+\b")
# Names of the same shape that are no metrics: CMake targets, BPF objects, files.
QUOTED = re.compile(r'"(tapdeck_[a-z0-9_]+)"')
SUFFIX = ("_total", "_seconds", "_bytes", "_info", "_connections", "_entries", "_capacity", "_attached", "_recordings",
          "_blobs", "_success", "_ratio", "_targets")


ENUM = re.compile(r"enum class (Counter|Gauge|Histogram) [^{]*\{(.*?)\n\};", re.S)


def never_counted():
    """Enumerators that no source but the table of their names mentions."""
    header = ROOT / "daemon/base/counters.h"
    text = "\n".join(read(path) for path in sources(".cc", ".h", folders=("daemon", "store"))
                     if path.stem != "metrics_table" and not path.stem.endswith("_test"))
    text += " Gauge::ActiveTc"  # metrics.h computes the gauges of active connections from the capture path
    for kind, body in ENUM.findall(read(header)):
        for name in re.findall(r"^\s*(\w+)", re.sub(r"//.*", "", body).replace(",", ",\n"), re.M):
            if name[0] != "k" and not re.search(rf"\b(Counter|Gauge|Histogram)::{name}\b", text):
                yield f"daemon/base/counters.h: {kind}::{name} is never counted"


def problems():
    yield from never_counted()
    document = ROOT / "docs/METRICS.md"
    used = set()
    for path in sources(".cc", ".h", folders=("daemon", "store")):
        if not path.stem.endswith(("_test", "_fuzz")):
            used |= {name for name in QUOTED.findall(read(path)) if name.endswith(SUFFIX)}
    if not document.exists():
        if used:
            yield "docs/METRICS.md: missing, but the sources name metrics"
        return
    documented = {name for name in NAME.findall(document.read_text()) if name.endswith(SUFFIX)}
    for name in sorted(used - documented):
        yield f"docs/METRICS.md: {name} is not documented"
    for name in sorted(documented - used):
        yield f"docs/METRICS.md: documents {name}, which no source names"


finish(list(problems()), "a metric without a documented meaning and unit cannot be alerted on.")
