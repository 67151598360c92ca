// Router: what each admin request means and whether its sender may ask for it. No sockets, no threads: a Request in, a
// Response out. The rules against DNS rebinding and cross-site requests live here (Host, Origin, token).
// Owner: AdminServer. Thread: respond() on one thread at a time for each lane.
#pragma once

#include <string>
#include <vector>

#include "daemon/admin/control.h"
#include "daemon/admin/message.h"
#include "daemon/base/metrics.h"

namespace tapdeck::admin {

struct RouterOptions {
  std::string token;                       // bearer token of TCP; empty: none is accepted
  std::string token_file;                  // named in the 401, for people
  std::vector<std::string> allowed_hosts;  // beside localhost and loopback addresses
  bool protect_recordings = false;         // reading them over TCP needs the token, as writes do
};

// Who answers: Now at once, the others each on a thread that may block, so that neither waits for the other.
enum class Lane : uint8_t {
  Now,         // /metrics, /healthz, /readyz, and what is refused
  Changes,     // of targets, modes and sessions, and looking at them
  Recordings,  // reading and searching them, sessions to and from files
};

class Router {
 public:
  Router(RouterOptions options, Control& control, MetricsRegistry& metrics);

  [[nodiscard]] Lane lane_of(const Request& request) const;
  // Never fails: errors are Responses with {"error":name,"detail":...,"next":...}. Counts Admin* metrics.
  [[nodiscard]] Response respond(const Request& request);
  // In its place, when too many answers of recordings are under way.
  [[nodiscard]] Response too_many();

 private:
  [[nodiscard]] Response answer(const Request& request);
  // `path`: the decoded segments behind /api/v1/.
  [[nodiscard]] std::optional<Response> refuse(const Request& request, const std::vector<std::string>& path) const;
  [[nodiscard]] Response counted(Response response);
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
