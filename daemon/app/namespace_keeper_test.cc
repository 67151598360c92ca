#include "daemon/app/namespace_keeper.h"

#include <gtest/gtest.h>

namespace tapdeck::app {
namespace {

TEST(NamespaceKeeper, SaysWhatIsInsideAndIsUnderstood) {
  Inside inside;
  inside.has_names4 = true;
  inside.listeners = 6;
  inside.cookie = 0xffffffffffffffff;
  inside.v4 = *Endpoint::parse("127.84.0.1:61000");
  inside.v6 = *Endpoint::parse("[::1]:61000");
  const auto heard = decode_inside(encode(inside));
  ASSERT_TRUE(heard);
  EXPECT_TRUE(heard->has_names4);
  EXPECT_FALSE(heard->has_names6);
  EXPECT_EQ(heard->listeners, 6U);
  EXPECT_EQ(heard->cookie, inside.cookie);
  EXPECT_EQ(heard->v4, inside.v4);
  EXPECT_EQ(heard->v6, inside.v6);
  inside.v6 = {};
  EXPECT_EQ(decode_inside(encode(inside))->v6, Endpoint{});
}

TEST(NamespaceKeeper, SaysWhatWasRefusedAndIsUnderstood) {
  const auto heard = decode_refused(encode(kernel::RefusedPackets{1, 20, 300}));
  ASSERT_TRUE(heard);
  EXPECT_EQ(heard->udp, 1U);
  EXPECT_EQ(heard->quic, 20U);
  EXPECT_EQ(heard->other, 300U);
}

TEST(NamespaceKeeper, ItsFailuresKeepCodeAndErrno) {
  const Error error{Code::Permission, "make a user namespace (sysctl x)", Origin::Kernel, Retry::No, 1};
  const Error heard = decode_failure(encode_failure(error));
  EXPECT_EQ(heard.code, Code::Permission);
  EXPECT_EQ(heard.detail, error.detail);
  EXPECT_EQ(heard.sys_errno, 1);
}

TEST(NamespaceKeeper, NonsenseIsAnError) {
  for (const char* text : {"", "r", "x 1 1 1 1 127.0.0.1:1 -", "r 1 1 0 1 127.0.0.1:1 -", "r 1 1 1 1 here -"}) {
    EXPECT_FALSE(decode_inside(text)) << text;
  }
  EXPECT_FALSE(decode_refused("c"));
}

}  // namespace
}  // namespace tapdeck::app
