// Router: what each admin request means and whether its sender may ask for it. No sockets, no threads: a Request in, a
// Response out. The rules against DNS rebinding and cross-site requests live here (Host, Origin, token).
// Owner: AdminServer. Thread: respond() on one thread at a time.
#pragma once

#include <string>
#include <vector>

#include "daemon/admin/control.h"
#include "daemon/admin/message.h"
#include "daemon/base/metrics.h"

namespace tapdeck::admin {

struct RouterOptions {
  std::string token;                       // bearer token of TCP writes; empty: none is accepted
  std::string token_file;                  // named in the 401, for people
  std::vector<std::string> allowed_hosts;  // beside localhost and loopback addresses
};

class Router {
 public:
  Router(RouterOptions options, Control& control, MetricsRegistry& metrics);

  // Whether the answer may take long (everything under /api but /metrics, /healthz and /readyz): the server then asks
  // on its slow thread.
  [[nodiscard]] static bool is_slow(const Request& request);
  // Never fails: errors are Responses with {"error":name,"detail":...,"next":...}. Counts Admin* metrics.
  [[nodiscard]] Response respond(const Request& request);

 private:
  [[nodiscard]] Response answer(const Request& request);
  [[nodiscard]] std::optional<Response> refuse(const Request& request) const;
  [[nodiscard]] Response api(const Request& request, const std::vector<std::string>& path);
  [[nodiscard]] Response sessions(const Request& request, const std::vector<std::string>& path);
  [[nodiscard]] Response recordings(const Request& request, const std::vector<std::string>& path);
  [[nodiscard]] Response mode(const Request& request);
  [[nodiscard]] Response targets(const Request& request, const std::vector<std::string>& path);

  RouterOptions options_;
  Control& control_;
  MetricsRegistry& metrics_;
};

}  // namespace tapdeck::admin
