#include "daemon/server/judgements.h"

#include <gtest/gtest.h>

namespace tapdeck::server {
namespace {

TEST(Judgements, WhoTookACertificateDoesNotRefuseItByLeaving) {
  Judgements judgements;
  EXPECT_FALSE(judgements.left("a"));
  judgements.took("b");
  EXPECT_TRUE(judgements.left("b"));
  EXPECT_FALSE(judgements.left("a")) << "what others trust says nothing of it";
  EXPECT_EQ(judgements.taken_back(), 0U);
}

TEST(Judgements, WhatWasHeldAgainstOneThatTakesItLaterIsTakenBackOnce) {
  Judgements judgements;
  EXPECT_FALSE(judgements.left("a"));
  EXPECT_FALSE(judgements.left("a"));
  EXPECT_FALSE(judgements.left("other"));
  judgements.took("a");
  judgements.took("a");
  EXPECT_EQ(judgements.taken_back(), 2U);
}

TEST(Judgements, AreOfAProcessAndAName) {
  exchange::CapturedFlow flow;
  flow.client = *Endpoint::parse("10.0.0.7:1234");
  const std::string by_address = judge_of(flow, "a.test");
  flow.client = *Endpoint::parse("10.0.0.7:1235");
  EXPECT_EQ(judge_of(flow, "a.test"), by_address) << "another connection";
  EXPECT_NE(judge_of(flow, "b.test"), by_address);
  flow.identity.pid = 7;
  const std::string by_pid = judge_of(flow, "a.test");
  EXPECT_NE(by_pid, by_address);
  flow.identity.tenant = 2;
  EXPECT_NE(judge_of(flow, "a.test"), by_pid) << "another target";
}

TEST(Judgements, AreBounded) {
  Judgements judgements;
  judgements.took("first");
  for (size_t i = 0; i + 1 < Judgements::kMost; ++i) judgements.took(std::to_string(i));
  EXPECT_TRUE(judgements.left("first"));
  judgements.took("one more");
  EXPECT_FALSE(judgements.left("first"));
  EXPECT_TRUE(judgements.left("one more"));
}

}  // namespace
}  // namespace tapdeck::server
