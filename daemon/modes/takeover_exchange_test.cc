#include "daemon/modes/takeover_exchange.h"

#include <gmock/gmock.h>

#include "daemon/exchange/fake_exchange.h"

namespace tapdeck::modes {
namespace {

using exchange::BodyPiece;
using exchange::FakeExchange;
using testing::ElementsAre;

void write(TakeoverExchange& to, std::string_view bytes) {
  EXPECT_TRUE(to.write_now(BodyPiece{bytes, std::nullopt, false}));
}

http::ResponseHead head_of(int status) {
  http::ResponseHead head;
  head.status = status;
  return head;
}

TEST(TakeoverExchange, WhatTheClientHasIsNotSentAgain) {
  FakeExchange client;
  const store::KeyHasher hasher(store::Secret{});
  TakeoverExchange answer(client, hasher);
  EXPECT_EQ(answer.sent().status, 0);
  EXPECT_TRUE(answer.inform(head_of(103)));
  EXPECT_TRUE(answer.respond(head_of(200), http::EndStream::No));
  write(answer, "ab");
  write(answer, "cd");
  answer.begin_again();
  EXPECT_TRUE(answer.inform(head_of(103)));
  EXPECT_TRUE(answer.respond(head_of(200), http::EndStream::No));
  write(answer, "abc");
  write(answer, "de");
  write(answer, "f");
  EXPECT_TRUE(answer.end({}));
  EXPECT_THAT(client.sent, ElementsAre("inform 103", "head 200", "body ab", "body cd", "body e", "body f", "end"));
  EXPECT_EQ(answer.sent().status, 200);
  EXPECT_EQ(answer.sent().bytes, 6U);
  EXPECT_EQ(answer.sent().digest, hasher.of("abcdef"));
}

TEST(TakeoverExchange, AnAnswerOfItsHeadAloneEndsTheOneThatBegan) {
  FakeExchange client;
  const store::KeyHasher hasher(store::Secret{});
  TakeoverExchange answer(client, hasher);
  EXPECT_TRUE(answer.respond(head_of(200), http::EndStream::No));
  answer.begin_again();
  EXPECT_TRUE(answer.respond(head_of(200), http::EndStream::Yes));
  EXPECT_THAT(client.sent, ElementsAre("head 200", "end"));
}

}  // namespace
}  // namespace tapdeck::modes
