#include "daemon/upstream/connect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>

#include <optional>

#include "daemon/base/test_descriptors.h"
#include "daemon/upstream/dns_rig.h"
#include "daemon/upstream/name_cache.h"
#include "daemon/upstream/own_addresses.h"

namespace tapdeck::upstream {
namespace {

using ::testing::HasSubstr;
using namespace std::chrono_literals;

class PlainSockets final : public SocketSource {
 public:
  std::vector<int> families;
  Result<UniqueFd> upstream_socket(uint64_t, int family) override {
    families.push_back(family);
    return UniqueFd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  }
};

Endpoint bound_to(int fd) {
  sockaddr_storage raw{};
  socklen_t size = sizeof raw;
  EXPECT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&raw), &size), 0);
  return Endpoint::from_sockaddr(reinterpret_cast<const sockaddr*>(&raw));
}

// A bound port of loopback; it refuses until it listens.
struct Port {
  explicit Port(const std::string& ip) : fd(open(ip)), endpoint(bound_to(fd.get())) {}
  static UniqueFd open(const std::string& ip) {
    sockaddr_storage raw{};
    const socklen_t size = Endpoint::parse(ip)->to_sockaddr(raw);
    UniqueFd made(::socket(raw.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::bind(made.get(), reinterpret_cast<const sockaddr*>(&raw), size), 0);
    return made;
  }
  void listen() const { EXPECT_EQ(::listen(fd.get(), 16), 0); }
  UniqueFd fd;
  Endpoint endpoint;
};

class ConnectTo : public ::testing::Test {
 protected:
  ConnectTo()
      : dns([this](const std::string& name, int) {
          if (name != "api.test") return DnsAnswer{.code = 3};
          return DnsAnswer{.addresses = addresses};
        }),
        resolver({{dns.server()}, 500ms}),
        metrics(registry.create()),
        names(resolver, metrics) {
    context.executor = io.get_executor();
    context.sockets = &sockets;
    context.metrics = &metrics;
    context.connect_timeout = 2s;
    context.names = &names;
    context.own = &own;
    context.parked = &parked;
  }
  static Key named(const std::string& host, uint16_t port) {
    Key key;
    key.host = host;
    key.address.port = port;
    return key;
  }
  Result<std::unique_ptr<net::Stream>> connect(const Key& key) {
    std::optional<Result<std::unique_ptr<net::Stream>>> out;
    io.restart();
    asio::co_spawn(io, [&]() -> net::Task<> { out.emplace(co_await connect_to(context, key)); }, asio::detached);
    io.run();
    return std::move(*out);
  }

  std::vector<std::string> addresses{"127.0.0.1"};
  ScriptedDns dns;
  Resolver resolver;
  MetricsRegistry registry;
  Metrics& metrics;
  NameCache names;
  OwnAddresses own;
  ParkedStreams parked;
  PlainSockets sockets;
  asio::io_context io{1};
  DialContext context;
};

TEST_F(ConnectTo, GoesToAnAddressWithoutAskingForIt) {
  Port port("127.0.0.1");
  port.listen();
  Key key;
  key.address = port.endpoint;
  EXPECT_TRUE(connect(key));
  EXPECT_EQ(dns.questions(), 0);
}

TEST_F(ConnectTo, LeavesTheDescriptorsThatAreKeptForOthers) {
  Port port("127.0.0.1");
  port.listen();
  Key key;
  key.address = port.endpoint;
  const BoundDescriptors bounds({.serving = descriptor_after(0)});
  const auto refused = connect(key);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().sys_errno, EMFILE);
  EXPECT_EQ(refused.error().origin, Origin::Internal) << "the origin did nothing";
  EXPECT_EQ(registry.snapshot().value(Counter::LimitDescriptors), 1U);
}

TEST_F(ConnectTo, LooksUpANameAndTriesItsAddressesUntilOneAnswers) {
  Port port("127.0.0.2");
  port.listen();
  addresses = {"127.0.0.1", "127.0.0.3", "127.0.0.2"};  // the first two refuse
  auto connected = connect(named("api.test", port.endpoint.port));
  ASSERT_TRUE(connected) << connected.error().message();
  sockaddr_storage raw{};
  socklen_t size = sizeof raw;
  ASSERT_EQ(::getpeername((*connected)->native_handle(), reinterpret_cast<sockaddr*>(&raw), &size), 0);
  EXPECT_EQ(Endpoint::from_sockaddr(reinterpret_cast<const sockaddr*>(&raw)), port.endpoint);
}

TEST_F(ConnectTo, SaysWhatWasTriedWhenAllRefuseAndAsksAnewNextTime) {
  Port port("127.0.0.1");
  addresses = {"127.0.0.1", "::1"};
  const Key key = named("api.test", port.endpoint.port);
  auto refused = connect(key);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::Refused);
  EXPECT_EQ(refused.error().origin, Origin::Upstream);
  EXPECT_THAT(refused.error().message(), HasSubstr("connect to api.test:"));
  EXPECT_THAT(refused.error().message(), HasSubstr("127.0.0.1:"));
  EXPECT_THAT(refused.error().message(), HasSubstr("[::1]:"));
  EXPECT_EQ(sockets.families.size(), 2U);
  const int asked = dns.questions();
  port.listen();
  EXPECT_TRUE(connect(key));
  EXPECT_GT(dns.questions(), asked);
}

TEST_F(ConnectTo, NameThatDoesNotExistIsADnsErrorAndNothingIsDialled) {
  auto failed = connect(named("nothing.test", 80));
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, Code::Dns);
  EXPECT_TRUE(sockets.families.empty());
}

TEST_F(ConnectTo, NeverGoesToOurselvesByAddressOrByName) {
  Port port("127.0.0.1");
  port.listen();
  own.add(port.endpoint);
  Key key;
  key.address = port.endpoint;
  for (const Key& way : {key, named("api.test", port.endpoint.port)}) {
    auto refused = connect(way);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::Permission);
    EXPECT_EQ(refused.error().origin, Origin::Downstream);
    EXPECT_THAT(refused.error().message(), HasSubstr("tapdeck itself"));
  }
  EXPECT_TRUE(sockets.families.empty());
  EXPECT_EQ(registry.snapshot().value(Counter::ProxyRefusedOwnAddress), 2U);
}

TEST_F(ConnectTo, ParkedStreamIsUsedOnceByWhoGoesToTheSamePlace) {
  Port port("127.0.0.1");
  port.listen();
  const Key key = named("api.test", port.endpoint.port);
  auto first = connect(key);
  ASSERT_TRUE(first);
  const int fd = (*first)->native_handle();
  const auto ticket = parked.park(key, std::move(*first));
  EXPECT_EQ(parked.take(named("other.test", port.endpoint.port)), nullptr);
  Key of_another_target = key;
  of_another_target.target = 7;
  Key of_another_tenant = key;
  of_another_tenant.tenant = 7;
  EXPECT_EQ(parked.take(of_another_target), nullptr);
  EXPECT_EQ(parked.take(of_another_tenant), nullptr);
  auto again = connect(key);
  ASSERT_TRUE(again);
  EXPECT_EQ((*again)->native_handle(), fd);
  EXPECT_EQ(parked.size(), 0U);
  auto third = connect(key);
  ASSERT_TRUE(third);
  EXPECT_EQ(sockets.families.size(), 2U);
}

TEST_F(ConnectTo, ParkedStreamEndsWithItsTicketOrWithItsOrigin) {
  Port port("127.0.0.1");
  port.listen();
  Key key;
  key.address = port.endpoint;
  {
    const auto ticket = parked.park(key, std::move(*connect(key)));
    EXPECT_EQ(parked.size(), 1U);
  }
  EXPECT_EQ(parked.size(), 0U);
  const auto ticket = parked.park(key, std::move(*connect(key)));
  UniqueFd closed_by_ticket(::accept(port.fd.get(), nullptr, nullptr));
  UniqueFd other_side(::accept(port.fd.get(), nullptr, nullptr));
  other_side.reset();
  EXPECT_EQ(parked.take(key), nullptr) << "the origin has closed it";
}

}  // namespace
}  // namespace tapdeck::upstream
