// Test support: a worker with an explicit listener, and names that its resolver knows.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "daemon/server/worker_rig.h"
#include "daemon/upstream/dns_rig.h"

namespace tapdeck::server {

inline std::string port_of(const ScriptedOrigin& origin) {
  return std::to_string(origin.endpoint().port);
}

class ProxyRig {
 public:
  explicit ProxyRig(Mode mode = Mode::Record, std::vector<config::Route> routes = {},
                    std::vector<std::string> bypass = {}, uint32_t connections = 8000)
      : rig(options_for(mode, std::move(routes), std::move(bypass), connections)) {
    UniqueFd listener = listen_on_loopback();
    listening = local_endpoint(listener.get());
    own.add_proxy(listening);  // no flow has come yet
    rig.worker->add_listener(std::move(listener), {CapturePath::Explicit, 2, 0, kSlot});
  }
  [[nodiscard]] Wire connect() const { return Wire::connect(listening); }
  // All that comes back until the end of the connection, which shows only when it was no orderly one.
  [[nodiscard]] std::string ask(const std::string& request) const {
    Wire wire = connect();
    EXPECT_TRUE(wire.write(request));
    if (!request.starts_with("CONNECT")) wire.half_close();
    std::string answer = wire.rest();
    if (answer.ends_with("<EOF>")) answer.resize(answer.size() - 5);
    return answer;
  }
  // A tunnel to `authority`; the wire is at its beginning.
  [[nodiscard]] Wire tunnel(const std::string& authority) const {
    Wire wire = connect();
    EXPECT_TRUE(wire.write("CONNECT " + authority + " HTTP/1.1\r\nHost: " + authority + "\r\n\r\n"));
    EXPECT_EQ(wire.read_until("\r\n\r\n"), "HTTP/1.1 200 Connection established\r\n\r\n");
    return wire;
  }

  upstream::ScriptedDns dns{[](const std::string& name, int) {
    if (name == kHost || name == "web.test") return upstream::DnsAnswer{.addresses = {"127.0.0.1"}};
    if (name == "servfail.test") return upstream::DnsAnswer{.code = 2};
    if (name == "empty.test") return upstream::DnsAnswer{};
    if (name == "mute.test") return upstream::DnsAnswer{.silent = true};
    return upstream::DnsAnswer{.code = 3};
  }};
  upstream::Resolver resolver{{{dns.server()}, std::chrono::milliseconds(500)}};
  upstream::OwnAddresses own;
  Endpoint listening;
  WorkerRig rig;

 private:
  RigOptions options_for(Mode mode, std::vector<config::Route> routes, std::vector<std::string> bypass,
                         uint32_t connections) {
    RigOptions options;
    options.config.routes = std::move(routes);
    options.config.limits.connections = connections;
    options.mode = mode;
    options.bypass = std::move(bypass);
    options.resolver = &resolver;
    options.own = &own;
    return options;
  }
};

}  // namespace tapdeck::server
