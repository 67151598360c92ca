#include "daemon/modes/grpc_script.h"

#include <gtest/gtest.h>

#include <string>

namespace tapdeck::modes {
namespace {

using store::BodySide;
using MessageKind = store::Message::Kind;

store::Digest digest(uint8_t value) {
  store::Digest out{};
  out[0] = value;
  return out;
}

// A recording from letters in the order they passed: c client message, e client end, h head, s server message (10
// bytes each). `rest`: response bytes after the last of them.
store::Recording recording(std::string_view order, uint64_t rest = 0) {
  store::Recording out;
  out.response.status = 200;
  for (const char what : order) {
    store::Message message{BodySide::Request, MessageKind::Grpc, false, 0, 0, 0, 0};
    if (what == 'e') message.kind = MessageKind::GrpcEnd;
    if (what == 'h') message = {BodySide::Response, MessageKind::GrpcHead, false, 0, 0, 0, 0};
    if (what == 's') {
      message = {BodySide::Response, MessageKind::Grpc, false, 0, out.response_body.size, 10, 0};
      out.response_body.size += 10;
    }
    out.messages.push_back(message);
  }
  out.response_body.size += rest;
  return out;
}

// The steps in the same letters, 'f' for Finish, and what a play waits for or sends, one after the other, when the
// client does what the script expects.
std::string letters(const GrpcScript& script) {
  GrpcPlay play(script);
  GrpcSaid said;
  std::string out;
  while (true) {
    const GrpcStep& step = play.next(said);
    switch (step.kind) {
      case GrpcStep::Kind::ClientMessage:
        said.client.push_back(script.client[said.client.size()]);
        out += 'c';
        break;
      case GrpcStep::Kind::ClientEnd:
        said.client_ended = true;
        out += 'e';
        break;
      case GrpcStep::Kind::Head:
        said.head_sent = true;
        out += 'h';
        break;
      case GrpcStep::Kind::Bytes:
        EXPECT_EQ(step.offset, said.bytes_sent);
        said.bytes_sent += step.length;
        out += 's';
        break;
      case GrpcStep::Kind::Finish:
        return out + 'f';
    }
  }
}

TEST(GrpcScript, KeepsTheOrderInWhichThingsPassed) {
  for (const char* order : {"cehs", "ccceh", "cehsss", "chscsce", "hcs", "e", "h"}) {
    std::vector<store::Digest> client(std::string_view(order).contains('c') ? 9 : 0);
    const std::string expected = std::string(order) + (std::string_view(order).contains('h') ? "f" : "hf");
    EXPECT_EQ(letters(make_script(recording(order), client)), expected) << order;
  }
}

TEST(GrpcScript, WhatIsNotIndexedIsSentAfterTheRest) {
  EXPECT_EQ(letters(make_script(recording("cehs", 7), {digest(1)})), "cehssf");
  EXPECT_EQ(letters(make_script(recording("", 7), {})), "hsf");
}

TEST(GrpcScript, AMessageThatCannotBeComparedIsNotWaitedFor) {
  EXPECT_EQ(letters(make_script(recording("chcs"), {digest(1)})), "chsf");
}

TEST(GrpcScript, AHeadThatEndedACallItsClientHadLeftIsNotSent) {
  store::Recording left = recording("ceh");
  left.outcome = {store::Outcome::Kind::Incomplete, 0, "client_gone"};
  EXPECT_EQ(letters(make_script(left, {digest(1)})), "cehf");
  left.response.headers.add("grpc-status", "4");
  EXPECT_EQ(letters(make_script(left, {digest(1)})), "cef");
  left.messages.clear();
  EXPECT_EQ(letters(make_script(left, {digest(1)})), "f");
}

TEST(GrpcScript, ASecondMessageInOnePieceIsNotLost) {
  const GrpcScript script = make_script(recording("chscs"), {digest(1), digest(2)});
  GrpcPlay play(script);
  GrpcSaid said;
  said.client = {digest(1), digest(2)};  // both before anything was sent
  EXPECT_EQ(play.next(said).kind, GrpcStep::Kind::Head);
  said.head_sent = true;
  said.bytes_sent = 10;
  EXPECT_EQ(play.next(said).offset, 10u);
}

TEST(GrpcScript, AgreesWithAPrefixOfTheClient) {
  const GrpcScript script = make_script(recording("cceh"), {digest(1), digest(2)});
  GrpcSaid said;
  EXPECT_TRUE(agrees(script, said));
  said.client = {digest(1)};
  EXPECT_TRUE(agrees(script, said));
  said.client = {digest(2)};
  EXPECT_FALSE(agrees(script, said));
  said.client = {digest(1), digest(2), digest(3)};
  EXPECT_FALSE(agrees(script, said));
  said.client = {digest(1)};
  said.client_ended = true;
  EXPECT_FALSE(agrees(script, said));
  said.client = {digest(1), digest(2)};
  EXPECT_TRUE(agrees(script, said));
}

}  // namespace
}  // namespace tapdeck::modes
