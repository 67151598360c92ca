#include "daemon/kernel/host_servers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace tapdeck::kernel {
namespace {

using ::testing::Contains;
using ::testing::Not;

enum class V6Only { No, Yes };

// Listens on a free port of this address; with `at`, where.
UniqueFd listen_on(const char* address, Endpoint& at, V6Only v6_only = V6Only::No) {
  sockaddr_storage raw{};
  socklen_t length = Endpoint::parse(address)->to_sockaddr(raw);
  UniqueFd fd(::socket(raw.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int only = v6_only == V6Only::Yes ? 1 : 0;
  if (raw.ss_family == AF_INET6) ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only);
  EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&raw), length), 0);
  EXPECT_EQ(::listen(fd.get(), 1), 0);
  EXPECT_EQ(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&raw), &length), 0);
  at = Endpoint::from_sockaddr(reinterpret_cast<const sockaddr*>(&raw));
  return fd;
}

TEST(HostServers, AreThoseThatListenNow) {
  const auto servers = HostServers::here();
  ASSERT_TRUE(servers);
  Endpoint v4, v6;
  UniqueFd one = listen_on("127.0.0.1:0", v4);
  const UniqueFd other = listen_on("[::1]:0", v6);
  EXPECT_THAT(*servers->listening(), Contains(v4));
  EXPECT_THAT(*servers->listening(), Contains(v6));
  one.reset();
  EXPECT_THAT(*servers->listening(), Not(Contains(v4)));
}

TEST(HostServers, OneOnAllAddressesOfIPv6IsOnThoseOfIPv4Too) {
  Endpoint at;
  const UniqueFd listener = listen_on("[::]:0", at);
  const auto found = HostServers::here()->listening();
  ASSERT_TRUE(found);
  EXPECT_THAT(*found, Contains(at));
  EXPECT_THAT(*found, Contains(*Endpoint::parse("0.0.0.0", at.port)));
  const UniqueFd alone = listen_on("[::]:0", at, V6Only::Yes);
  const auto with_that = HostServers::here()->listening();
  ASSERT_TRUE(with_that);
  EXPECT_THAT(*with_that, Contains(at));
  EXPECT_THAT(*with_that, Not(Contains(*Endpoint::parse("0.0.0.0", at.port))));
}

}  // namespace
}  // namespace tapdeck::kernel
