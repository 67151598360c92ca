// AdminServer: HTTP/1.1 on loopback TCP and a unix socket, on a thread of its own. Framing, limits and time-outs only;
// what requests mean is router.h.
//
// Requests under /api are answered on two threads, one for recordings and one for all else, one at a time each, so that
// a slow attach or import never delays /metrics, and a search no detach. A recorded body is read as it is sent: of it
// there is a piece in memory for each connection (256 KiB, as it is stored). Owner: app; destroyed before the Control
// and the registry it was given.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/admin/control.h"
#include "daemon/base/endpoint.h"
#include "daemon/base/metrics.h"
#include "daemon/base/result.h"

namespace tapdeck::admin {

struct ServerOptions {
  std::optional<Endpoint> listen;    // port 0: kernel-given; unset: no TCP
  std::filesystem::path socket;      // empty: no unix socket
  std::filesystem::path token_file;  // empty: no token, TCP cannot write
  std::vector<std::string> allowed_hosts;
  bool protect_recordings = false;
  size_t max_connections = 64;                        // by TCP and by the socket each; more are closed at accept
  size_t max_readings = 8;                            // answers of recordings under way over TCP; 503 for more
  size_t max_body = 65536;                            // 413 above
  std::chrono::milliseconds request_timeout{10'000};  // first byte to last of a request
  std::chrono::milliseconds idle_timeout{60'000};
  std::chrono::milliseconds write_timeout{30'000};  // of one response, or one piece of a recorded body
};

class AdminServer {
 public:
  // Binds, makes the token, starts the threads. Busy (port or socket taken), Permission, Io.
  [[nodiscard]] static Result<std::unique_ptr<AdminServer>> start(ServerOptions options, Control& control,
                                                                  MetricsRegistry& metrics);
  AdminServer(const AdminServer&) = delete;
  AdminServer& operator=(const AdminServer&) = delete;
  // Closes connections, waits for a Control call that runs, removes socket and token file.
  ~AdminServer();

  // Where TCP listens, with its real port; nullopt without TCP.
  [[nodiscard]] std::optional<Endpoint> endpoint() const;
  // Runs `tick` on the admin thread now and then: proof for a watchdog that the loop turns. Call once, after start().
  void every(std::chrono::milliseconds interval, std::function<void()> tick);

 private:
  struct Impl;
  explicit AdminServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tapdeck::admin
