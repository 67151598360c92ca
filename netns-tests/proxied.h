// Proxied: the usual beginning of a test of the explicit listener: topology, a name server beside the origin, and a
// daemon on the gateway that serves the client's network as a proxy. Nothing is captured. Thread: one.
#pragma once

#include <memory>
#include <string>

#include "netns-tests/clients.h"
#include "netns-tests/daemon_process.h"
#include "netns-tests/scripted_dns.h"
#include "netns-tests/stream.h"
#include "netns-tests/topology.h"

namespace tapdeck::lab {

inline constexpr const char* kProxy = "10.77.1.1:8080";

class Proxied {
 public:
  explicit Proxied(DaemonOptions options = {});

  [[nodiscard]] Topology& lab() { return lab_; }
  [[nodiscard]] DaemonProcess& daemon() { return daemon_; }
  [[nodiscard]] ScriptedDns& dns() { return dns_; }
  // A client that trusts this install and the lab's CA.
  [[nodiscard]] Seat seat() const { return {.lab = lab_, .ca = daemon_.client_ca()}; }
  // Runs a program with HTTP_PROXY and HTTPS_PROXY set, in both spellings.
  [[nodiscard]] Output run(const std::vector<std::string>& argv) const;
  void set_mode(const std::string& mode) const { daemon_.must_cli({"mode", "set", mode, "--target", "explicit"}); }

  // A connection from the client to the proxy.
  [[nodiscard]] Stream connect() const;
  // Sends a request and returns all that comes back until the proxy closes.
  [[nodiscard]] std::string ask(const std::string& request) const;
  // A connection on which CONNECT was answered with 200; LabError when it was not.
  [[nodiscard]] Stream tunnel(const std::string& authority) const;
  // A TLS request through a tunnel; `ca` is what the client trusts. Empty when the handshake failed.
  [[nodiscard]] std::string ask_tls(const std::string& authority, const std::string& name, const std::string& request,
                                    const std::filesystem::path& ca) const;
  void expect_no_connection_left();

 private:
  Topology lab_;
  ScriptedDns dns_;
  DaemonProcess daemon_;
};

[[nodiscard]] std::string connect_request(const std::string& authority);

}  // namespace tapdeck::lab
