// Captured: the usual beginning of a test: topology, daemon, and a client seat that one of the capture paths catches.
// Thread: one.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "netns-tests/cgroup.h"
#include "netns-tests/clients.h"
#include "netns-tests/daemon_process.h"
#include "netns-tests/topology.h"

namespace tapdeck::lab {

enum class CaptureBy { Cgroup, Interface };
[[nodiscard]] inline const char* to_string(CaptureBy path) {
  return path == CaptureBy::Cgroup ? "cgroup" : "tc";
}

class Captured {
 public:
  // Starts the daemon and attaches the client by `path`, in the options' mode; `more` are further flags of attach.
  explicit Captured(CaptureBy path = CaptureBy::Cgroup, DaemonOptions options = {}, std::vector<std::string> more = {})
      : daemon_(lab_, std::move(options)) {
    if (path == CaptureBy::Cgroup) {
      cgroup_.emplace("client");
      // As in a container, somebody is there already: the daemon learns of the namespace at attach, so that the first
      // connection of the test is captured (in a namespace it has never seen, it would be counted as no_listener).
      resident_.emplace(ProcessOptions{.argv = {"sleep", "infinity"}, .netns = &lab_.client(), .cgroup = &*cgroup_});
      target_ = daemon_.attach_cgroup(*cgroup_, std::move(more));
    } else {
      target_ = daemon_.attach_interface(kClientSide, std::move(more));
    }
  }

  [[nodiscard]] Topology& lab() { return lab_; }
  [[nodiscard]] DaemonProcess& daemon() { return daemon_; }
  [[nodiscard]] const Cgroup& cgroup() const { return *cgroup_; }
  [[nodiscard]] const std::string& target() const { return target_; }
  // A client that is captured and trusts this install and the lab's CA.
  [[nodiscard]] Seat seat() const {
    return {.lab = lab_, .cgroup = cgroup_ ? &*cgroup_ : nullptr, .ca = daemon_.client_ca()};
  }
  // A connection of a client in the lab's client namespace, in this process: captured by the interface path alone.
  [[nodiscard]] Stream connect(const std::string& address, uint16_t port) const {
    return connect_from(lab_.client(), Endpoint::parse(address, port).value());
  }
  // The same behind the handshake of a client of origin.test; LabError when that fails.
  [[nodiscard]] Stream connect_tls(const std::string& address, uint16_t port, const TlsContext& tls) const;
  void replay() const { daemon_.must_cli({"mode", "set", "replay", "--target", target_}); }
  // Recordings in the session that the daemon knows now.
  [[nodiscard]] size_t recordings() const;

 private:
  Topology lab_;
  std::optional<Cgroup> cgroup_;
  std::optional<Process> resident_;
  DaemonProcess daemon_;
  std::string target_;
};

// The process that ends the command of this `tapdeck run`, and frees what it had in the kernel, when it dies; 0: none.
[[nodiscard]] pid_t guard_of(const Process& run);
// Both, so that the kernel keeps what the run had there.
void kill_with_its_guard(Process& run);

// "GET PATH" with Host origin.test that asks for the connection to be closed.
[[nodiscard]] std::string get_request(const std::string& path, const std::string& more_headers = "");
// A 200 with this body and its length.
[[nodiscard]] std::string ok_response(const std::string& body);

}  // namespace tapdeck::lab
