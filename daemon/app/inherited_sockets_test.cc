#include "daemon/app/inherited_sockets.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "daemon/base/unique_fd.h"

namespace tapdeck::app {
namespace {

// What is said of this descriptor; empty: nothing.
std::string kind_of(const UniqueFd& fd) {
  const auto all = inherited_sockets();
  const auto found = std::ranges::find(all, fd.get(), &InheritedSocket::fd);
  return found == all.end() ? "" : found->kind;
}

UniqueFd make(int domain, int type, int protocol = 0) {
  return UniqueFd(::socket(domain, type, protocol));
}

TEST(InheritedSockets, AreThoseToTheNetworkThatStayOpenOverExec) {
  EXPECT_EQ(kind_of(make(AF_INET, SOCK_STREAM)), "IPv4 TCP socket");
  EXPECT_EQ(kind_of(make(AF_INET, SOCK_DGRAM)), "IPv4 UDP socket");
  EXPECT_EQ(kind_of(make(AF_INET6, SOCK_DGRAM)), "IPv6 UDP socket");
  EXPECT_EQ(kind_of(make(AF_INET, SOCK_STREAM | SOCK_CLOEXEC)), "");
  EXPECT_EQ(kind_of(make(AF_UNIX, SOCK_STREAM)), "");
  const UniqueFd null(::dup(1));
  EXPECT_EQ(kind_of(null), "");
  const UniqueFd server = make(AF_INET6, SOCK_STREAM);
  ASSERT_EQ(::listen(server.get(), 1), 0);  // on a port of the kernel's choice
  EXPECT_EQ(kind_of(server), "listening IPv6 TCP socket");
}

TEST(InheritedSockets, PacketAndRawSocketsAreAmongThem) {
  const UniqueFd packet = make(AF_PACKET, SOCK_RAW);
  if (!packet) GTEST_SKIP() << "needs CAP_NET_RAW";
  EXPECT_EQ(kind_of(packet), "packet socket");
  EXPECT_EQ(kind_of(make(AF_INET, SOCK_RAW, IPPROTO_ICMP)), "IPv4 raw socket");
}

TEST(InheritedSockets, ComeWithWhatToDo) {
  const InheritedSocket five{5, "IPv4 TCP socket"};
  EXPECT_EQ(describe(five), "descriptor 5 is an IPv4 TCP socket made outside the run");
  EXPECT_EQ(remedy(five), "close it (5>&-)");
  const InheritedSocket input{0, "packet socket"};
  EXPECT_EQ(describe(input), "descriptor 0 is a packet socket made outside the run");
  EXPECT_EQ(remedy(input), "redirect it");
}

}  // namespace
}  // namespace tapdeck::app
