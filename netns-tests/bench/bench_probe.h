// bench_probe: the bench's own client and origin. Blocking sockets and threads, since it measures what stands between
// two of them and is pinned to one core. Not a load generator for requests per second: that is wrk.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "daemon/base/unique_fd.h"

namespace tapdeck::bench {

// Prints what failed with errno and exits 1: a bench that goes on after an error measures nothing.
[[noreturn]] void die(const std::string& what);

struct Address {
  std::string ip;  // IPv4, dotted
  uint16_t port = 0;
};

UniqueFd connect_to(const Address& address);
UniqueFd listen_on(const Address& address);
void send_all(int fd, const void* bytes, size_t size);
// False at the end of the stream.
bool read_exactly(int fd, void* bytes, size_t size);
// False when the peer left: for origins, whose connection that ends and nothing else.
bool send_or_leave(int fd, const void* bytes, size_t size);
// Microseconds, one a try; prints count, median, p99 and maximum.
void print_times(std::vector<double> times);

// First byte of the two opaque protocols: neither a TLS record nor an HTTP method, so that a proxy tunnels the flow.
constexpr unsigned char kOpaque = 0x01;
// A bulk request: kOpaque, then the number of bytes wanted, big endian, in the other seven.
constexpr size_t kBulkRequest = 8;

// Serves until killed: echo on `base`, bulk download on base + 1, streamed HTTP responses on base + 2, WebSocket echo
// on base + 3, server-sent events on base + 4.
int run_origin(const std::string& ip, uint16_t base);
// One connection each, to its end.
void serve_websocket(int fd);
void serve_events(int fd);

// Each prints one JSON object on stdout. Times are microseconds.
int ping_pong(const Address& address, int count);
int bulk(const Address& address, uint64_t bytes);
int first_byte(const Address& address, int count);
// Full TLS handshakes without resumption, one GET each, `parallel` at a time. "%" in `name` is replaced by a number
// never used before by this process, starting at `first`; every answer must have `status`.
int handshakes(const Address& address, const std::string& name, int count, int parallel, int first, int status);
// Opens `count` TLS connections, one GET each, says {"open":N}, and holds them until stdin ends.
int idle(const Address& address, const std::string& name, int count);
// `peers` WebSockets at once, each `count` binary messages of `size` bytes, `depth` of them on the way; those of each
// peer and `seed` are others. The clock runs from the last handshake to the last echo; the number in every echo is
// compared.
int websocket(const Address& address, int peers, int count, size_t size, int depth, int seed);
// The ages at which server-sent events arrive, `count` of them, one every `pause_us`.
int events(const Address& address, int count, int pause_us);

}  // namespace tapdeck::bench
