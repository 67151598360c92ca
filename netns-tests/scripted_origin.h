// ScriptedOrigin: a small threaded server in a namespace that plays one script per connection, byte for byte: odd
// header case, chunks with extensions and trailers, truncation, resets, banners, silence. TCP or TLS, IPv4 and IPv6 at
// once.
//
// Not a web server: it understands just enough of a request to find its end. Counts connections and requests.
// Thread: one per listener and connection; stop() (and the destructor) closes all and joins.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "netns-tests/namespace.h"
#include "netns-tests/stream.h"

namespace tapdeck::lab {

// One accepted connection, as a script sees it.
class Peer {
 public:
  Peer(Stream stream, std::atomic<uint64_t>& requests, std::atomic<uint64_t>& heads)
      : stream_(std::move(stream)), requests_(requests), heads_(heads) {}
  // Head and body (Content-Length or chunked) as they arrived; empty when the client left before their end.
  [[nodiscard]] std::string read_request();
  [[nodiscard]] Stream& stream() { return stream_; }

 private:
  Stream stream_;
  std::atomic<uint64_t>& requests_;
  std::atomic<uint64_t>& heads_;
};

using Script = std::function<void(Peer&)>;

class ScriptedOrigin {
 public:
  // Listens on `port` of 0.0.0.0 and [::] in `where`; TLS when `tls` is given, with this ALPN.
  ScriptedOrigin(const Namespace& where, uint16_t port, std::optional<Leaf> tls, Script script, Alpn alpn = Alpn::None);
  ScriptedOrigin(const ScriptedOrigin&) = delete;
  ScriptedOrigin& operator=(const ScriptedOrigin&) = delete;
  ~ScriptedOrigin();

  [[nodiscard]] uint64_t connections() const { return connections_; }
  [[nodiscard]] uint64_t requests() const { return requests_; }  // complete ones
  [[nodiscard]] uint64_t heads() const { return heads_; }
  [[nodiscard]] uint64_t open() const { return open_; }  // connections whose script still runs
  void stop();

 private:
  struct Connection {
    std::thread thread;
    int fd = -1;
    std::atomic<bool> done{false};
  };

  void listen(int family, uint16_t port);
  void accept_loop(int listener);
  void play(Connection& connection, UniqueFd fd);

  std::optional<TlsContext> tls_;
  Script script_;
  std::vector<UniqueFd> listeners_;
  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::list<Connection> list_;
  std::atomic<bool> stopping_{false};
  std::atomic<uint64_t> connections_{0}, requests_{0}, heads_{0}, open_{0};
};

// Keep-alive script: answers each request by the bytes stored for its request target ("/a"), 404 for others.
[[nodiscard]] Script answers(std::map<std::string, std::string> by_target);
// "GET /x HTTP/1.1" -> "/x".
[[nodiscard]] std::string target_of(const std::string& request);

}  // namespace tapdeck::lab
