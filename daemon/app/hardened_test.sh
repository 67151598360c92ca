#!/bin/sh
# hardened_test.sh READELF PROGRAM: stacks are guarded, copies of known length are checked, relocations are read-only
# once the program has started, and its place in memory and its stack are no place for code.
set -eu
readelf=$1
program=$2
failed=0

expect() { # WHAT OPTIONS PATTERN
  # shellcheck disable=SC2086 # options are words
  if ! "$readelf" -W $2 "$program" | grep -q -E "$3"; then
    echo "$program: no $1 (readelf $2 has no '$3')" >&2
    failed=1
  fi
}

expect "stack protector" --dyn-syms '__stack_chk_fail'
expect "checked copies (_FORTIFY_SOURCE)" --dyn-syms '_chk(@|$)'
expect "immediate binding" --dynamic 'BIND_NOW|FLAGS_1.*NOW'
expect "read-only relocations" --program-headers 'GNU_RELRO'
expect "position independence" --file-header 'Type: +DYN'
expect "stack without code" --program-headers 'GNU_STACK.* RW +0'
exit "$failed"
