#include "daemon/upstream/own_addresses.h"

#include <gtest/gtest.h>

#include "daemon/base/log.h"
#include "daemon/base/test_descriptors.h"

namespace tapdeck::upstream {
namespace {

bool contains(const std::vector<std::string>& listeners, const std::string& destination) {
  OwnAddresses own;
  for (const std::string& listener : listeners) own.add(*Endpoint::parse(listener));
  return own.contains(*Endpoint::parse(destination));
}

TEST(OwnAddresses, KnowsTheListenersAndNothingElse) {
  EXPECT_TRUE(contains({"127.0.0.1:8080", "127.0.0.1:9909"}, "127.0.0.1:9909"));
  EXPECT_TRUE(contains({"[::1]:8080"}, "[::1]:8080"));
  EXPECT_FALSE(contains({"127.0.0.1:8080"}, "127.0.0.1:8081"));
  EXPECT_FALSE(contains({"127.0.0.1:8080"}, "127.0.0.2:8080")) << "somebody else may listen there";
  EXPECT_FALSE(contains({}, "127.0.0.1:8080"));
}

TEST(OwnAddresses, UnspecifiedDestinationIsLoopback) {
  EXPECT_TRUE(contains({"127.0.0.1:9909"}, "0.0.0.0:9909"));
  EXPECT_TRUE(contains({"[::1]:9909"}, "[::]:9909"));
  EXPECT_FALSE(contains({"192.0.2.1:9909"}, "0.0.0.0:9909"));
}

TEST(OwnAddresses, WildcardListenerIsReachedByEveryAddressOfThisHostOnly) {
  EXPECT_TRUE(contains({"0.0.0.0:8080"}, "127.0.0.1:8080"));
  EXPECT_TRUE(contains({"0.0.0.0:8080"}, "127.9.9.9:8080"));
  EXPECT_TRUE(contains({"[::]:8080"}, "127.0.0.1:8080")) << "it takes IPv4 too";
  EXPECT_FALSE(contains({"0.0.0.0:8080"}, "192.0.2.77:8080"));
  EXPECT_FALSE(contains({"0.0.0.0:8080"}, "127.0.0.1:8081"));
}

TEST(OwnAddresses, WhatCannotBeAskedForWantOfADescriptorIsOurs) {
  // A sanitizer that sees a type for the first time opens a pipe to look at it.
  log::peer(log::Level::Warn, "test.begins", "what is logged below was logged before");
  const DescriptorLimit none(descriptor_after(0));
  EXPECT_TRUE(contains({"0.0.0.0:8080"}, "192.0.2.77:8080"));
  EXPECT_FALSE(contains({"0.0.0.0:8080"}, "192.0.2.77:8081")) << "whoever listens there";
}

TEST(OwnAddresses, CaptureListenersAreAmongThemAsLongAsTheyAreThere) {
  OwnAddresses own;
  own.add_captured(7, *Endpoint::parse("127.84.0.1:61000"));
  own.add_captured(7, *Endpoint::parse("[::1]:61000"));
  own.add_captured(8, *Endpoint::parse("127.84.0.2:61000"));
  EXPECT_TRUE(own.contains(*Endpoint::parse("127.84.0.1:61000")));
  EXPECT_TRUE(own.contains(*Endpoint::parse("[::1]:61000")));
  EXPECT_FALSE(own.contains(*Endpoint::parse("127.84.0.1:61001")));
  EXPECT_FALSE(own.contains(*Endpoint::parse("127.0.0.1:61000"))) << "somebody else may listen there";
  EXPECT_FALSE(own.is_proxy(*Endpoint::parse("127.84.0.1:61000")));
  own.remove_captured(7);
  EXPECT_FALSE(own.contains(*Endpoint::parse("127.84.0.1:61000")));
  EXPECT_FALSE(own.contains(*Endpoint::parse("[::1]:61000")));
  EXPECT_TRUE(own.contains(*Endpoint::parse("127.84.0.2:61000")));
}

TEST(OwnAddresses, ProxyIsOneOfThem) {
  OwnAddresses own;
  own.add(*Endpoint::parse("127.0.0.1:9909"));
  own.add_proxy(*Endpoint::parse("127.0.0.1:8080"));
  EXPECT_TRUE(own.contains(*Endpoint::parse("127.0.0.1:8080")));
  EXPECT_TRUE(own.is_proxy(*Endpoint::parse("127.0.0.1:8080")));
  EXPECT_FALSE(own.is_proxy(*Endpoint::parse("127.0.0.1:9909")));
}

}  // namespace
}  // namespace tapdeck::upstream
