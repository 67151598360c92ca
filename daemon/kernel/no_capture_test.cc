#include "daemon/kernel/no_capture.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace tapdeck::kernel {
namespace {

TEST(NoCapture, SaysWhyNothingCanBeAttachedAndThatNothingIs) {
  NoCapture none(Error{Code::Permission, "no CAP_BPF", Origin::Kernel, Retry::No, 0});
  Capture* const capture = &none;
  for (const auto& refused : {capture->attach_cgroup(1, "/x", {}), capture->attach_interface(1, "lo", {}),
                              capture->attach_namespace(1, {}), capture->prepare_netns(1, -1)}) {
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::Permission);
    EXPECT_EQ(refused.error().detail, "no CAP_BPF");
  }
  EXPECT_EQ(capture->detach(1).error().code, Code::NotFound);
  EXPECT_EQ(capture->resolve({}, {}, {}).error().code, Code::NotFound);
  EXPECT_TRUE(capture->stats().targets.empty());
}

TEST(NoCapture, GivesPlainSocketsOfTheOwnNetworkAndOfNoOther) {
  NoCapture none(Error{Code::Permission, "", Origin::Kernel, Retry::No, 0});
  Capture* const capture = &none;
  for (const int family : {AF_INET, AF_INET6}) {
    const auto fd = capture->upstream_socket(0, family);
    ASSERT_TRUE(fd);
    int value = 0;
    socklen_t size = sizeof value;
    ASSERT_EQ(::getsockopt(fd->get(), SOL_SOCKET, SO_DOMAIN, &value, &size), 0);
    EXPECT_EQ(value, family);
  }
  EXPECT_EQ(capture->upstream_socket(7, AF_INET).error().code, Code::NotFound);
}

}  // namespace
}  // namespace tapdeck::kernel
