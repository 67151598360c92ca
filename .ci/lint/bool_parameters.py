#!/usr/bin/env python3
"""No function of a header takes a bool: an enum of two values says at the call what it means."""
import re

from common import finish, read, sources

# The parameters that stay, by header. Most are computed where they are passed, none is a word that a reader misses.
ALLOWED = {
    "daemon/kernel/capture.h": {"hold"},
    "daemon/kernel/capture_impl.h": {"hold"},
    "daemon/kernel/no_capture.h": {"hold"},
    "daemon/modes/store_link.h": {"ends"},
    "daemon/net/stream.h": {"on"},  # as setsockopt(2) has it
    "daemon/server/websocket_rig.h": {"masked"},
    "daemon/server/worker_rig.h": {"over_tls"},
    "daemon/ws/transcript.h": {"masked"},
    "store/blob_files.h": {"is_on"},
    "store/store_impl.h": {"is_idle"},
}
COMMENT = re.compile(r'/\*\s*(\w+)\s*\*/|//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.S)
# In a list, after its parenthesis or a comma: no return type, no bool* and bool&, no type in angle brackets alone.
PARAMETER = re.compile(r"[(,]\s*(?:const\s+)?bool\s*(?<=\s)(\w*)\s*(?:=[^,()]*)?(?=[,)])")
# What the lint has to find, and what not: it fails when its pattern does not.
FOUND = ("void a(bool b);", "int c(int d, const bool e = false);", "void f(bool /*g*/) {}", "h(int i,\n  bool j)")
PASSED = ("bool a();", "std::function<bool(int)> b;", "void c(bool& d, bool* e);", "struct f { bool g = false; };",
          "explicit operator bool() const;", "// h(bool i)", "template <bool kJ> void k();")


def parameters(text):
    """(line, name) of every bool parameter; the name is empty where there is none."""
    code = COMMENT.sub(lambda m: m.group(1) or re.sub(r"[^\n]", " ", m.group(0)), text)
    for match in PARAMETER.finditer(code):
        yield code.count("\n", 0, match.start(1)) + 1, match.group(1)


def problems():
    for text in FOUND + PASSED:
        if bool(list(parameters(text))) != (text in FOUND):
            yield f".ci/lint/bool_parameters.py: reads this wrong: {text}"
    unused = {(header, name) for header, names in ALLOWED.items() for name in names}
    for path in sources(".h"):
        for line, name in parameters(read(path)):
            if name not in ALLOWED.get(path.as_posix(), ()):
                yield f"{path}:{line}: a bool parameter"
            unused.discard((path.as_posix(), name))
    for header, name in sorted(unused):
        yield f".ci/lint/bool_parameters.py: {header} has no bool {name} any more; remove it from the list"


finish(list(problems()), "f(slot, true, false) cannot be read, and a swapped pair compiles.")
