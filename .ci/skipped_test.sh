#!/bin/sh
# A skipped test is named, once, unless a machine may lack what it needs; one that passed or failed is not.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
log=$(mktemp /tmp/skipped.XXXXXX)
trap 'rm -f "$log"' EXIT
cat >"$log" <<'END'
 1/6 Test  #10: http.LlhttpVectors.InvalidIsRefused ....................***Skipped   0.01 sec
 2/6 Test   #3: http.Codec.Skipped ......................................   Passed    0.01 sec
 3/6 Test   #4: kernel.netns.TcOnABridge.PortIsCaptured .................***Skipped   0.01 sec
 4/6 Test   #5: store.Space.IsKept ......................................***Failed    0.01 sec
      Test  #10: http.LlhttpVectors.InvalidIsRefused ....................***Skipped   0.01 sec
END
said=$("$here/skipped" "$log")
[ "$said" = "http.LlhttpVectors.InvalidIsRefused" ] || { echo "it says: $said"; exit 1; }
[ -z "$("$here/skipped" /dev/null)" ] || { echo "of nothing it says something"; exit 1; }
