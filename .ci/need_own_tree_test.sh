#!/bin/sh
# A build directory with files of somebody else is one clear line; one's own is none.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
umask 022
place=$(mktemp -d /tmp/need-own-tree.XXXXXX)
trap 'chmod -R u+w "$place"; rm -rf "$place"' EXIT
chmod 755 "$place"
mkdir -p "$place/foreign/part" "$place/own"
touch "$place/foreign/part/x.o"
if [ "$(id -u)" -eq 0 ]; then
  chown -R 65534 "$place/own"
  ask() { setpriv --reuid 65534 --clear-groups sh -s "$@" <"$here/need-own-tree" 2>&1; }
else
  chmod a-w "$place/foreign/part"
  ask() { "$here/need-own-tree" "$@" 2>&1; }
fi
ask "$place/absent" build
ask "$place/own" build
if said=$(ask "$place/foreign" build); then echo "a foreign tree is taken for one's own"; exit 1; fi
[ "$(printf '%s\n' "$said" | wc -l)" -eq 1 ] || { echo "more than a line: $said"; exit 1; }
case $said in *"sudo make build"*chown*"$place/foreign") ;; *) echo "it says: $said"; exit 1 ;; esac
