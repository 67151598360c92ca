// In namespaces of the test's own, with nothing but loopback in them.
#include "daemon/kernel/local_routes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "daemon/base/unique_fd.h"
#include "daemon/kernel/netns/lab.h"

namespace tapdeck::kernel {
namespace {

using ::testing::Contains;
using ::testing::Not;

Prefix prefix(const char* address, uint8_t length) {
  return {*Endpoint::parse(address), length};
}

// Runs `body`, whose failures are told on stderr, in a child in a new network namespace.
int in_new_netns(const std::function<void()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (::unshare(CLONE_NEWNET) != 0) ::_exit(9);
    body();
    ::_exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  return status;
}

Endpoint source_towards(const char* to) {
  const Endpoint destination = *Endpoint::parse(to);
  sockaddr_storage raw{};
  socklen_t length = destination.to_sockaddr(raw);
  const UniqueFd fd(::socket(raw.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&raw), length) != 0) return {};
  length = sizeof raw;
  ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&raw), &length);
  Endpoint source = Endpoint::from_sockaddr(reinterpret_cast<const sockaddr*>(&raw));
  source.port = 0;
  return source;
}

class LocalRoutes : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "NOT RUN: needs root";
  }
};

TEST_F(LocalRoutes, AllAddressesAreLocalAndClientsHaveAnAddressOfTheirOwn) {
  const int status = in_new_netns([] {
    EXPECT_EQ(source_towards("203.0.113.1:9"), Endpoint{});
    ASSERT_TRUE(make_local(all_addresses()));
    EXPECT_EQ(source_towards("203.0.113.1:9"), local_source(Endpoint::Family::V4));
    EXPECT_EQ(source_towards("[2001:db8::1]:9"), local_source(Endpoint::Family::V6));
  });
  EXPECT_EQ(status, 0);
}

TEST_F(LocalRoutes, OnlyWhatIsGivenIsLocal) {
  const int status = in_new_netns([] {
    ASSERT_TRUE(make_local({prefix("10.7.0.0", 16)}));
    EXPECT_EQ(source_towards("10.7.1.1:9"), local_source(Endpoint::Family::V4));
    EXPECT_EQ(source_towards("10.8.1.1:9"), Endpoint{});
    EXPECT_EQ(source_towards("[2001:db8::1]:9"), Endpoint{});
  });
  EXPECT_EQ(status, 0);
}

TEST_F(LocalRoutes, ReachableIsWhatRoutesLeadToWithoutLoopbackLinkLocalAndGroups) {
  const int status = in_new_netns([] {
    ignore(lab::output_of("ip link set lo up; ip link add veth0 type veth peer name veth1; ip link set veth0 up; ip "
                          "link set veth1 up;"
                          "ip addr add 10.7.0.1/24 dev veth0; ip -6 addr add fd77::1/64 dev veth0 nodad;"
                          "ip route add 192.0.2.0/24 via 10.7.0.2; ip route add unreachable 198.51.100.0/24"),
           "what is missing shows below");
    const auto found = reachable_addresses();
    ASSERT_TRUE(found);
    EXPECT_THAT(*found, Contains(prefix("10.7.0.0", 24)));
    EXPECT_THAT(*found, Contains(prefix("192.0.2.0", 24)));
    EXPECT_THAT(*found, Contains(prefix("fd77::", 64)));
    EXPECT_THAT(*found, Not(Contains(prefix("198.51.100.0", 24))));
    EXPECT_TRUE(std::ranges::none_of(*found, [](const Prefix& one) {
      return one.address.is_loopback() || one.address.ip().starts_with("fe80") || one.address.ip().starts_with("ff");
    }));
  });
  EXPECT_EQ(status, 0);
}

TEST_F(LocalRoutes, ADefaultRouteIsAllOfItsFamily) {
  const int status = in_new_netns([] {
    ignore(lab::output_of("ip link set lo up; ip link add veth0 type veth peer name veth1; ip link set veth0 up; ip "
                          "link set veth1 up;"
                          "ip addr add 10.7.0.1/24 dev veth0; ip route add default via 10.7.0.2"),
           "what is missing shows below");
    const auto found = reachable_addresses();
    ASSERT_TRUE(found);
    ASSERT_FALSE(found->empty());
    EXPECT_EQ(found->front(), prefix("0.0.0.0", 0));
    EXPECT_EQ(std::ranges::count(*found, Endpoint::Family::V4, [](const Prefix& one) { return one.address.family; }),
              1);
  });
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace tapdeck::kernel
