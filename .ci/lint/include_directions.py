#!/usr/bin/env python3
"""Each folder may include only what the table "Folders" of docs/ARCHITECTURE.md says: our folders; libraries."""
import re

from common import finish, read, sources

DOCUMENT = "docs/ARCHITECTURE.md"
# What the table calls a library, and how its headers begin.
LIBRARIES = {
    "Asio": ("asio.hpp", "asio/"),
    "OpenSSL": ("openssl/",),
    "spdlog": ("spdlog/",),
    "nlohmann-json": ("nlohmann/",),
    "prometheus-cpp": ("prometheus/",),
    "RocksDB": ("rocksdb/",),
    "libbpf": ("bpf/",),
    "libnftables": ("nftables/",),
    "llhttp": ("llhttp",),
    "nghttp2": ("nghttp2/",),
    "zlib": ("zlib.h",),
    "brotli": ("brotli/",),
    "zstd": ("zstd.h",),
    "toml++": ("toml++/",),
    "CLI11": ("CLI/",),
    "protobuf": ("google/protobuf/",),
    "c-ares": ("ares.h",),
    "libsystemd": ("systemd/",),
}
THIRD_PARTY = tuple(prefix for prefixes in LIBRARIES.values() for prefix in prefixes)
# Tests may use any library, the rest of the table binds them too. Their helpers are known by name.
TEST = re.compile(r"(_test|_fuzz|_bench)\.cc$|(_rig|test_support|_transcript|wire)\.h$|/(test|fake)_\w+\.h$")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)  # how it is quoted, the header's name
ROW = re.compile(r"^\| `([\w/-]+)` \|[^|]*\| ([^|]+) \|$", re.M)  # | `folder` | what it is | ours; libraries |


def table():
    """Folder -> (our folders and headers it may include, prefixes of libraries; None: any)."""
    rows = {}
    for folder, allowed in ROW.findall(read(DOCUMENT).split("\n## Folders\n")[1].split("\n## ")[0]):
        ours, _, libraries = allowed.partition("; ")
        names = [] if ours == "nothing of ours" else [name.strip("` ") for name in ours.split(",")]
        names = ["daemon", "store", "bpf"] if ours == "everything" else [
            name if name in ("store", "bpf") else f"daemon/{name}" for name in names]
        any_library = "everything" in (ours, libraries)
        rows[folder] = names, None if any_library else tuple(
            prefix for name in filter(None, libraries.split(", ")) for prefix in LIBRARIES[name])
    return rows


def problems():
    rows = table()
    for path in sources(".cc", ".h", ".c"):
        name = path.as_posix()
        folder = max((f for f in rows if name.startswith(f + "/")), key=len, default=None)
        if folder is None:
            yield f"{path}: a folder without a row in {DOCUMENT}; add it on purpose"
            continue
        ours, libraries = rows[folder]
        for quote, target in INCLUDE.findall(read(path)):
            if quote == '"' and target.startswith(("daemon/", "store/", "bpf/", "netns-tests/")):
                if not any(target == f or target.startswith(f + "/") for f in (folder, *ours)):
                    yield f"{path}: includes {target}, but {folder} may include only {', '.join(ours) or 'itself'}"
            elif libraries is not None and target.startswith(THIRD_PARTY) and not TEST.search(name):
                if not target.startswith(libraries):
                    yield f"{path}: includes {target}, a library that {folder} does not use"


finish(list(problems()), "a folder that knows only what it needs can be tested, fuzzed and replaced alone.")
