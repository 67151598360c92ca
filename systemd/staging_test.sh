#!/bin/sh
# staging_test.sh CMAKE INSTALL_SCRIPT: what `make install DESTDIR=X` puts into X comes from this tree, not from what an
# earlier version installed on the host; and a configuration that cannot be laid down is an error.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
prefix=$place/host
mkdir -p "$prefix/share/tapdeck" "$place/blocked/etc"
echo "# of an earlier version" >"$prefix/share/tapdeck/tapdeck.toml"
install_into() { DESTDIR=$1 "$cmake" -DCMAKE_INSTALL_PREFIX="$prefix" -P "$script" >"$place/log" 2>&1; }
cmake=$1 script=$2

install_into "$place/stage" || { cat "$place/log"; exit 1; }
cmp "$place/stage/etc/tapdeck/tapdeck.toml" "$place/stage$prefix/share/tapdeck/tapdeck.toml"

echo "# an administrator's" >"$place/stage/etc/tapdeck/tapdeck.toml"
install_into "$place/stage"
grep -q "administrator's" "$place/stage/etc/tapdeck/tapdeck.toml" || { echo "an administrator's file was replaced"; exit 1; }

: >"$place/blocked/etc/tapdeck"
if install_into "$place/blocked"; then echo "no configuration was laid down, and nobody said so"; exit 1; fi
