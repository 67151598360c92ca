#!/usr/bin/env python3
"""The operand of co_await is a call whose arguments are names, std::move(name) or scalars, and its result is bound."""
import re

from common import finish, read, sources

BAD = ((re.compile(r"\{"), "a braced temporary"), (re.compile(r"\["), "a lambda or subscript"),
       (re.compile(r"\?"), "a conditional"), (re.compile(r"&&|\|\|"), "a short circuit"))


def strip(text):
    """Blanks comments and literals, keeping offsets, so that only code is judged."""
    pattern = r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
    return re.sub(pattern, lambda m: re.sub(r"[^\n]", " ", m.group(0)), text, flags=re.S)


def operand(code, start):
    """The text of the call after co_await: up to the closing parenthesis that balances its first one."""
    depth = 0
    for i in range(start, len(code)):
        if code[i] in "(":
            depth += 1
        elif code[i] in ")":
            depth -= 1
            if depth <= 0:
                return code[start:i + 1]
        elif code[i] == ";" and depth == 0:
            return code[start:i]
    return code[start:]


def statement_before(code, position):
    """What stands before co_await in its own statement; `if (...)` and its like are statements of their own."""
    start = max(code.rfind(c, 0, position) for c in ";{}") + 1
    text = code[start:position].lstrip()
    control = re.match(r"(else\s+)?(if|while|for)\s*(constexpr\s*)?\(", text)
    if not control:
        return text
    depth = 0
    for i in range(control.end() - 1, len(text)):
        depth += {"(": 1, ")": -1}.get(text[i], 0)
        if depth == 0:
            return text[i + 1:]
    return text


def problems():
    for path in sources(".cc", ".h", folders=("daemon", "store")):
        text = read(path)
        if "co_await" not in text:
            continue
        code = strip(text)
        for match in re.finditer(r"\bco_await\b", code):
            line = code.count("\n", 0, match.start()) + 1
            call = operand(code, match.end())
            if code[code.rfind("\n", 0, match.start()) + 1:match.start()].lstrip().startswith("#"):
                continue
            before = statement_before(code, match.start())
            for bad, what in BAD:
                if bad.search(call):
                    yield f"{path}:{line}: {what} inside the operand of co_await; give it a name first"
            if re.search(r"(&&|\|\||\?|\bswitch\s*\()[^;]*$", before):
                yield f"{path}:{line}: co_await inside a larger expression; bind its result to a name first"


finish(list(problems()), "g++ 12 turns several co_await statements into double frees; the spelling that every compiler "
       "gets right is one call with plain names, bound to a name.")
