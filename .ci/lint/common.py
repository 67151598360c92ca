"""What the lints share: the list of our source files and the way they fail. Each lint is a ctest (label lint)."""
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
FOLDERS = ("bpf", "daemon", "store", "netns-tests")


def sources(*suffixes, folders=FOLDERS):
    """Our files below `folders` with one of the suffixes, as paths relative to the repository root."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in suffixes and path.is_file() and "_corpus" not in path.as_posix():
                yield path.relative_to(ROOT)


def read(path):
    return (ROOT / path).read_text(encoding="utf-8")


def finish(problems, reason):
    """Prints the findings with the reason of the rule and exits non-zero if there are any."""
    for problem in problems:
        print(problem)
    if problems:
        print(f"\n{len(problems)} finding(s). Why this is a rule: {reason}")
    sys.exit(1 if problems else 0)
