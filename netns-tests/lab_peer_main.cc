// lab_peer: the lab's own byte-exact client, a separate program because a cgroup program sees the cgroup of the process
// that makes the socket.
//
//   lab_peer bytes ADDR PORT [--tls NAME --ca FILE] [--from PORT] [--half-close] [--deadline-ms N] < REQUEST > RESPONSE
//   lab_peer load ADDR PORT --flows N --parallel P --path T [--hold] [--numbered [--first K]] [--deadline-s N]
//
// `bytes` prints every byte of the answer up to the end of the stream, and on stderr the peer and local name it sees.
// `load` opens N plain connections with one request each, P at a time (--hold: all stay open until the last has
// answered), and prints one JSON object. --numbered appends K, K+1, ... to the path and prints on stderr the path of
// every answer that was complete, as soon as it is.
#include <sys/resource.h>

#include "netns-tests/lab_peer.h"

int main(int argc, char** argv) {
  // Thousands of flows at once, where shells begin with 1,024 descriptors.
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
  return tapdeck::lab::lab_peer({argv + 1, argv + argc});
}
