#include "daemon/server/early_origin.h"

#include <gtest/gtest.h>

#include "daemon/base/eventually.h"
#include "daemon/base/test_descriptors.h"
#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

TEST(EarlyOrigin, WhatWeLackOurselvesIsNoFailureOfTheOrigins) {
  WorkerRig rig;
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("x"); }));
  rig.go_to(origin.endpoint());
  const BoundDescriptors none_for_origins({.serving = 0});
  rig.ask("\x01opaque");
  EXPECT_TRUE(eventually([&] { return rig.count(Counter::LimitDescriptors) >= 1; }));
  EXPECT_EQ(rig.count(Counter::UpstreamRefused), 0U);
}

}  // namespace
}  // namespace tapdeck::server
