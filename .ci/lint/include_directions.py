#!/usr/bin/env python3
"""Each folder may include only the folders and libraries listed here (docs/ARCHITECTURE.md shows the same table)."""
import re

from common import finish, read, sources

# folder: (project folders it may include, third-party header prefixes it may include)
ASIO = ("asio.hpp", "asio/")
OPENSSL = ("openssl/",)
JSON = ("nlohmann/",)
LOG = ("spdlog/", "fmt/")
TABLE = {
    "bpf": ((), ("bpf/", "linux/", "vmlinux.h")),
    "daemon/base": ((), LOG + ("prometheus/",)),
    "daemon/tls": (("daemon/base",), OPENSSL),
    "daemon/http": (("daemon/base",), ("llhttp", "nghttp2/")),
    "daemon/grpc": (("daemon/base", "daemon/config/field_path.h", "daemon/http/message.h"), ("google/protobuf/",)),
    "daemon/ws": (("daemon/base", "daemon/http/message.h"), OPENSSL + ("zlib.h",)),
    "daemon/coding": (("daemon/base", "daemon/http/message.h"), ("zlib.h", "brotli/", "zstd.h")),
    "daemon/net": (("daemon/base",), ASIO),
    "daemon/transport": (("daemon/base", "daemon/net", "daemon/tls"), ASIO + OPENSSL),
    "daemon/kernel": (("daemon/base", "bpf"), ("bpf/", "libmnl/", "nftables/", "linux/")),
    "daemon/config": (("daemon/base",), ("toml++/",) + JSON),
    "daemon/trust": (("daemon/base",), OPENSSL + ("linux/",)),
    "store": (("daemon/base", "daemon/http/message.h"), ("rocksdb/",) + OPENSSL + JSON),
    "daemon/exchange": (("daemon/base", "daemon/http", "daemon/net", "store"), JSON),
    "daemon/modes": (
        ("daemon/base", "daemon/http", "daemon/coding", "daemon/exchange", "daemon/upstream", "daemon/net", "store",
         "daemon/config/config.h", "daemon/config/bypass.h", "daemon/config/json_path.h", "daemon/grpc", "daemon/ws"), JSON),
    "daemon/upstream": (
        ("daemon/base", "daemon/net", "daemon/transport", "daemon/tls", "daemon/http", "daemon/exchange"),
        ASIO + OPENSSL + ("ares.h",)),
    "daemon/proxy": (("daemon/base", "daemon/http", "daemon/net", "daemon/exchange", "daemon/config"), ()),
    "daemon/server": (
        ("daemon/base", "daemon/net", "daemon/transport", "daemon/tls", "daemon/http", "daemon/exchange", "daemon/modes",
         "daemon/upstream", "daemon/coding", "daemon/config", "daemon/grpc", "daemon/kernel", "daemon/proxy", "daemon/ws", "store"),
        ASIO + JSON),
    "daemon/admin": (
        ("daemon/base", "daemon/net", "daemon/http", "daemon/config", "store"),
        ASIO + JSON + ("prometheus/",) + OPENSSL),
    "daemon/app": (("daemon", "store", "bpf"), None),
    "netns-tests": (("netns-tests", "daemon/base"), None),
}
THIRD_PARTY = ("asio", "openssl/", "nlohmann/", "prometheus/", "rocksdb/", "bpf/libbpf", "bpf/bpf", "llhttp", "nghttp2/",
               "zlib.h", "brotli/", "zstd.h", "toml++/", "CLI/", "google/protobuf/", "ares.h", "libmnl/", "nftables/")
# Headers that only tests include: judged like tests.
TEST_SUPPORT = {"daemon/server/wire.h", "daemon/server/websocket_rig.h"}
# Not a test build: tests may include anything below their folder and GoogleTest.
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def folder_of(path):
    name = path.as_posix()
    return max((f for f in TABLE if name.startswith(f + "/")), key=len, default=None)


def problems():
    for path in sources(".cc", ".h", ".c"):
        folder = folder_of(path)
        if folder is None:
            if path.as_posix() != "daemon/main.cc":
                yield f"{path}: a folder without a row in .ci/lint/include_directions.py; add it on purpose"
            continue
        folders, libraries = TABLE[folder]
        is_test = path.stem.endswith(("_test", "_fuzz", "_bench")) or path.as_posix() in TEST_SUPPORT
        for quote, name in INCLUDE.findall(read(path)):
            if quote == '"' and name.startswith(("daemon/", "store/", "bpf/", "netns-tests/")):
                target = name
                if target.startswith(folder + "/"):
                    continue
                if not any(target == f or target.startswith(f + "/") for f in folders):
                    yield f"{path}: includes {name}, but {folder} may include only {', '.join(folders) or 'itself'}"
            elif libraries is not None and not is_test and name.startswith(THIRD_PARTY):
                if not name.startswith(tuple(libraries)):
                    yield f"{path}: includes <{name}>, a library that {folder} does not use"


finish(list(problems()), "a folder that knows only what it needs can be tested, fuzzed and replaced alone.")
