// gRPC calls of all four kinds, recorded with the origin and replayed without it. Over HTTP/1.1, which no gRPC library
// speaks but an Exchange does: what is tested here is the same for every version; netns-tests have the real ones.
#include <gmock/gmock.h>

#include "daemon/grpc/call.h"
#include "daemon/grpc/message_rules.h"
#include "daemon/server/grpc_rig.h"

namespace tapdeck::server {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

TEST_F(GrpcReplay, AnswersEachMessageOfTheClientInItsPlace) {
  EXPECT_EQ(talk({"a", "b", "c"}), answer({"a", "b", "c"}));
  EXPECT_EQ(rig.count(Counter::GrpcMessagesUp), 3U);
  EXPECT_EQ(rig.count(Counter::GrpcMessagesDown), 4U);
  stop_origin(1);
  for (int turn = 0; turn < 2; ++turn) EXPECT_EQ(talk({"a", "b", "c"}), answer({"a", "b", "c"}));
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Replay, Outcome::Replayed) == 2; }));
}

TEST_F(GrpcReplay, WaitsForTheClientsEndWhereTheOriginDid) {
  EXPECT_EQ(talk({"quiet", "quiet"}), answer({}));
  EXPECT_EQ(talk({}), answer({}));
  stop_origin(2);
  EXPECT_EQ(talk({}), answer({}));
  EXPECT_EQ(talk({"quiet", "quiet"}), answer({}));
}

TEST_F(GrpcReplay, StreamsThatBeginAlikeAreToldApartByWhatFollows) {
  EXPECT_EQ(talk({"a", "b"}), answer({"a", "b"}));
  EXPECT_EQ(talk({"a", "c"}), answer({"a", "c"}));
  EXPECT_EQ(talk({"a"}), answer({"a"}));
  stop_origin(3);
  EXPECT_EQ(talk({"a"}), answer({"a"}));
  EXPECT_EQ(talk({"a", "c"}), answer({"a", "c"}));
  EXPECT_EQ(talk({"a", "b"}), answer({"a", "b"}));
}

TEST_F(GrpcReplay, AMissIsAStatusThatIsNotTriedAgain) {
  EXPECT_EQ(talk({"a"}), answer({"a"}));
  stop_origin(1);
  const std::string missed = talk({"x"});
  EXPECT_THAT(missed, StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(missed, HasSubstr("grpc-status: 9\r\n"));
  EXPECT_THAT(missed, HasSubstr("\"error\":\"not_recorded\""));
  EXPECT_THAT(missed, HasSubstr("\"where\":\"grpc message 1\""));
  EXPECT_THAT(missed, HasSubstr("match_fields in [routes.grpc]"));
  EXPECT_EQ(rig.count(Counter::MissBody), 1U);
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Replay, Outcome::Missed) == 1; }));
}

TEST_F(GrpcReplay, AMissInTheMiddleIsInTheTrailersAndNamesTheMessage) {
  EXPECT_EQ(talk({"a", "b"}), answer({"a", "b"}));
  stop_origin(1);
  const std::string missed = talk({"a", "x"});
  EXPECT_THAT(missed, StartsWith(kHead + message("re:a")));
  EXPECT_THAT(missed, HasSubstr("grpc-status: 9\r\n"));
  EXPECT_THAT(missed, HasSubstr("\"where\":\"grpc message 2\""));
}

TEST_F(GrpcReplay, AMissAtALaterMessageOfACallThatSaysAllAtOnceNamesThatMessage) {
  EXPECT_EQ(talk({"quiet", "b"}), answer({"b"}));
  stop_origin(1);
  const std::string missed = rig.ask(call("Talk") + chunk_of(with_prefix("quiet") + with_prefix("x")) + kEnd);
  EXPECT_THAT(missed, HasSubstr("grpc-status: 9\r\n"));
  EXPECT_THAT(missed, HasSubstr("\"where\":\"grpc message 2\""));
  EXPECT_EQ(rig.count(Counter::MissBody), 1U);
}

TEST_F(GrpcReplay, TheDeadlineOfTheCallEndsTheWaitForTheClient) {
  EXPECT_EQ(talk({"a", "b"}), answer({"a", "b"}));
  stop_origin(1);
  Wire wire = rig.connect();
  wire.write(call("Talk", "grpc-timeout: 50m\r\n") + message("a"));
  const std::string heard = wire.read_until("grpc-status: 4\r\n");
  EXPECT_THAT(heard, StartsWith(kHead + message("re:a")));
  EXPECT_THAT(heard, EndsWith("grpc-status: 4\r\n"));
}

TEST_F(GrpcReplay, ACallThatItsClientCancelsIsCounted) {
  EXPECT_EQ(talk({"a", "b"}), answer({"a", "b"}));
  stop_origin(1);
  Wire wire = rig.connect();
  wire.write(call("Talk") + message("a"));
  EXPECT_THAT(wire.read_until("re:a\r\n"), EndsWith("re:a\r\n"));
  wire.reset();
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Replay, Outcome::Replayed) == 1; }));
  EXPECT_EQ(rig.outcomes(Mode::Replay, Outcome::Failed), 0U);
}

TEST_F(GrpcReplay, ACallThatWasLeftBeforeItsMessageCameIsLeftAgainAtItsDeadline) {
  {
    Wire wire = rig.connect();
    wire.write(call("Talk", "grpc-timeout: 50m\r\n"));
    ASSERT_TRUE(eventually([&] { return origin_.connections() == 1; }));
    wire.reset();
  }
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
  stop_origin(0);
  const auto began = std::chrono::steady_clock::now();
  Wire wire = rig.connect();
  wire.write(call("Talk", "grpc-timeout: 50m\r\n") + message("a"));
  EXPECT_THAT(wire.read_until("grpc-status: 4\r\n"), EndsWith("grpc-status: 4\r\n"));
  EXPECT_GE(std::chrono::steady_clock::now() - began, std::chrono::milliseconds(500)) << "it is to say so first";
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Replay, Outcome::Replayed) == 1; }));
  EXPECT_THAT(talk({"a"}), HasSubstr("grpc-status: 9\r\n")) << "without a deadline it would wait for ever";
}

TEST_F(GrpcReplay, HybridRecordsWhatNoRecordingAnswers) {
  rig.set_mode(Mode::Hybrid);
  EXPECT_EQ(talk({"quiet", "a"}), answer({"a"}));
  EXPECT_EQ(talk({"quiet", "b"}), answer({"b"})) << "begins alike, is another";
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Hybrid, Outcome::Recorded) == 2; }));
  EXPECT_EQ(talk({"quiet", "b"}), answer({"b"}));
  EXPECT_EQ(talk({"quiet", "a"}), answer({"a"}));
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Hybrid, Outcome::Replayed) == 2; }));
}

RigOptions field_one_counts() {
  RigOptions options;
  config::Route& route = options.config.routes.emplace_back();
  route.name = "numbers";
  route.grpc.emplace().rules = tls::testing::must(grpc::MessageRules::make({}, {"1"}));
  return options;
}

class GrpcReplayByFields : public GrpcReplay {
 protected:
  GrpcReplayByFields() : GrpcReplay(field_one_counts()) {}
};

TEST_F(GrpcReplayByFields, OtherFieldsMayDiffer) {
  const std::string one = "\x0a\1k\x12\1x", other = "\x12\1y\x0a\1k", third = "\x0a\1z";
  EXPECT_EQ(talk({one}), answer({one}));
  stop_origin(1);
  Wire wire = rig.connect();
  wire.write(call("Talk") + message(other) + kEnd);
  wire.half_close();
  EXPECT_EQ(wire.rest(), answer({one}));
  EXPECT_THAT(talk({third}), HasSubstr("grpc-status: 9\r\n"));
  EXPECT_EQ(rig.count(Counter::GrpcUndecoded), 0U);
  EXPECT_THAT(talk({"\xff"}), HasSubstr("grpc-status: 9\r\n"));
  EXPECT_EQ(rig.count(Counter::GrpcUndecoded), 1U) << "matched by its bytes, and counted";
}

RigOptions paced(const std::string& pace) {
  RigOptions options;
  config::Route& route = options.config.routes.emplace_back();
  route.name = "paced";
  route.streaming.emplace().pace = pace;
  return options;
}

// What took a millisecond takes a second: a call with a short deadline never sees it.
class GrpcReplayInSlowMotion : public GrpcReplay {
 protected:
  GrpcReplayInSlowMotion() : GrpcReplay(paced("0.001x")) {}
};

TEST_F(GrpcReplayInSlowMotion, WaitsForTheRecordedMomentUnlessTheDeadlineComesFirst) {
  EXPECT_EQ(talk({"a", "b"}), answer({"a", "b"}));
  stop_origin(1);
  Wire wire = rig.connect();
  wire.write(call("Talk", "grpc-timeout: 20m\r\n") + message("a"));
  const std::string heard = wire.read_until("grpc-status: 4\r\n");
  EXPECT_THAT(heard, EndsWith("grpc-status: 4\r\n"));
  EXPECT_THAT(heard, testing::Not(HasSubstr("re:a")));
}

class GrpcReplayInFastMotion : public GrpcReplay {
 protected:
  GrpcReplayInFastMotion() : GrpcReplay(paced("1000x")) {}
};

TEST_F(GrpcReplayInFastMotion, SaysAllOfIt) {
  EXPECT_EQ(talk({"a", "b"}), answer({"a", "b"}));
  stop_origin(1);
  EXPECT_EQ(talk({"a", "b"}), answer({"a", "b"}));
}

TEST(Grpc, AnOriginThatIsNotThereIsReplayedAsTheAnswerItGot) {
  WorkerRig rig;
  {
    ScriptedOrigin gone([](Wire&) { return ScriptedOrigin::End::Close; });
    rig.go_to(gone.endpoint());
  }
  const std::string request = call("Get") + message("k") + kEnd;
  const std::string recorded = rig.ask(request);
  EXPECT_THAT(recorded, StartsWith("HTTP/1.1 502 "));
  EXPECT_TRUE(eventually([&] { return rig.count(Counter::RecordingFailed) == 1; }));
  rig.set_mode(Mode::Replay);
  EXPECT_EQ(rig.ask(request), recorded);
}

TEST(Grpc, AServerThatSpeaksFirstDoesSoInReplay) {
  WorkerRig rig;
  ScriptedOrigin origin([](Wire& wire) {
    wire.read_until("\r\n\r\n");
    wire.write(kHead + message("welcome"));
    wire.write(message(wire.read_until(kEnd).contains("b") ? "to b" : "to a") + kTrailers);
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  const auto talk = [&rig](const std::string& text) {
    Wire wire = rig.connect();
    wire.write(call("Watch"));
    std::string heard = wire.read_until("welcome\r\n");
    wire.write(message(text) + kEnd);
    wire.half_close();
    return heard + wire.rest();
  };
  const auto answer = [](const std::string& text) {
    return kHead + message("welcome") + message(text) + kTrailers + "<EOF>";
  };
  EXPECT_EQ(talk("a"), answer("to a"));
  EXPECT_EQ(talk("b"), answer("to b"));
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Record, Outcome::Recorded) == 2; }));
  origin.stop();
  rig.set_mode(Mode::Replay);
  EXPECT_EQ(talk("b"), answer("to b"));
  EXPECT_EQ(talk("a"), answer("to a"));
  EXPECT_THAT(talk("x"), HasSubstr("grpc-status: 9\r\n"));
}

// A server that sends its head when a call begins, as grpc-js does, and echoes messages; unless the call wants it
// `x-late`: then the first message wins the race. The head says which it was.
ScriptedOrigin::End eager(Wire& wire) {
  const std::string request = wire.read_until("\r\n\r\n");
  if (!request.ends_with("\r\n\r\n")) return ScriptedOrigin::End::Close;
  const bool late = request.contains("x-late");
  const std::string head = kHead.substr(0, kHead.size() - 2) + "x-head: " + (late ? "late" : "early") + "\r\n\r\n";
  if (!late) wire.write(head);
  for (bool first = true;; first = false) {
    const std::string size = wire.read_until("\r\n");
    if (!size.ends_with("\r\n")) return ScriptedOrigin::End::Close;
    const size_t length = std::stoul(size, nullptr, 16);
    const std::string chunk = wire.read_n(length + 2);
    if (first && late) wire.write(head);
    if (length == 0) break;
    if (chunk.substr(5, length - 5) != "quiet") wire.write(message("re:" + chunk.substr(5, length - 5)));
  }
  wire.write(kTrailers);
  return ScriptedOrigin::End::Close;
}

class GrpcReplayOfAnEagerServer : public testing::Test {
 protected:
  GrpcReplayOfAnEagerServer() : origin_(eager) { rig.go_to(origin_.endpoint()); }

  // Says all of it and ends; what came back.
  std::string late(const std::string& text) { return rig.ask(call("Talk", "x-late: yes\r\n") + message(text) + kEnd); }
  // Waits for the head, then says it and ends.
  std::string early(const std::string& text) {
    Wire wire = rig.connect();
    wire.write(call("Talk"));
    const std::string head = wire.read_until("x-head: early\r\n\r\n");
    wire.write(message(text) + kEnd);
    wire.half_close();
    return head + wire.rest();
  }
  // Waits for the head, says it, and leaves after `answer`.
  void leave_early(const std::string& text, const std::string& answer) {
    Wire wire = rig.connect();
    wire.write(call("Talk"));
    EXPECT_THAT(wire.read_until("x-head: early\r\n\r\n"), EndsWith("\r\n\r\n"));
    wire.write(message(text));
    if (!answer.empty()) EXPECT_THAT(wire.read_until(answer), EndsWith(answer));
    EXPECT_TRUE(eventually([&] { return rig.count(Counter::GrpcMessagesUp) > 0; }));
    wire.close();
    EXPECT_TRUE(eventually([&] { return rig.count(Counter::RecordingIncomplete) == 1; }));
  }
  void stop_origin() {
    origin_.stop();
    rig.set_mode(Mode::Replay);
  }

  WorkerRig rig;

 private:
  ScriptedOrigin origin_;
};

TEST_F(GrpcReplayOfAnEagerServer, SendsTheHeadOfTheCallThatSaysTheSame) {
  EXPECT_THAT(early("a"), HasSubstr("re:a"));
  const std::string recorded = late("b");
  EXPECT_THAT(recorded, HasSubstr("x-head: late"));
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Record, Outcome::Recorded) == 2; }));
  stop_origin();
  EXPECT_EQ(late("b"), recorded);
  EXPECT_THAT(early("a"), HasSubstr("re:a"));
}

TEST_F(GrpcReplayOfAnEagerServer, ACallThatWasLeftIsFoundBesideOneThatWasNot) {
  leave_early("quiet", "");
  EXPECT_THAT(early("a"), HasSubstr("re:a"));
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Record, Outcome::Recorded) == 1; }));
  stop_origin();
  Wire wire = rig.connect();
  wire.write(call("Talk", "grpc-timeout: 150m\r\n") + message("quiet"));
  const std::string answer = wire.read_until("grpc-status: 4\r\n");
  EXPECT_THAT(answer, HasSubstr("x-head: early"));
  EXPECT_THAT(answer, HasSubstr("grpc-status: 4\r\n"));
}

TEST_F(GrpcReplayOfAnEagerServer, AnEmptyCallIsNotOneThatWasLeft) {
  Wire left = rig.connect();
  left.write(call("Talk"));
  EXPECT_THAT(left.read_until("x-head: early\r\n\r\n"), EndsWith("\r\n\r\n"));
  left.close();
  EXPECT_TRUE(eventually([&] { return rig.count(Counter::RecordingIncomplete) == 1; }));
  const std::string empty = call("Talk", "x-late: yes\r\n") + kEnd;
  const std::string recorded = rig.ask(empty);
  EXPECT_THAT(recorded, EndsWith(kTrailers + "<EOF>"));
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Record, Outcome::Recorded) == 1; }));
  stop_origin();
  EXPECT_EQ(rig.ask(empty), recorded);
}

TEST_F(GrpcReplayOfAnEagerServer, ACallThatGoesOnWhereAnotherWasLeftIsAnswered) {
  leave_early("a", "re:a\r\n");
  const auto go_on = [this] {
    Wire wire = rig.connect();
    wire.write(call("Talk", "x-late: yes\r\n") + message("a"));
    std::string heard = wire.read_until("re:a\r\n");
    wire.write(message("b"));
    heard += wire.read_until("re:b\r\n");
    wire.write(kEnd);
    wire.half_close();
    return heard.substr(heard.find("\r\n\r\n")) + wire.rest();
  };
  const std::string recorded = go_on();
  EXPECT_THAT(recorded, EndsWith(kTrailers + "<EOF>"));
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Record, Outcome::Recorded) == 1; }));
  stop_origin();
  EXPECT_EQ(go_on(), recorded);
}

TEST(Grpc, ATrailersOnlyAnswerStaysOne) {
  WorkerRig rig;
  const std::string answer =
      "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\ngrpc-status: 5\r\n"
      "grpc-message: no such thing\r\nContent-Length: 0\r\n\r\n";
  ScriptedOrigin origin(http_origin([&](const std::string&) { return answer; }));
  rig.go_to(origin.endpoint());
  const std::string request = call("Get") + message("k") + kEnd;
  EXPECT_EQ(rig.ask(request), answer + "<EOF>");
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Record, Outcome::Recorded) == 1; }));
  origin.stop();
  rig.set_mode(Mode::Replay);
  EXPECT_EQ(rig.ask(request), answer + "<EOF>");
}

TEST(Grpc, TheSameMessageCompressedMatches) {
  // gzip of "hello", stored (no compression): one deflate block.
  const std::string gzip = "\x1f\x8b\x08\0\0\0\0\0\0\xff\x01\x05\0\xfa\xff"s + "hello" + "\x86\xa6\x10\x36\x05\0\0\0"s;
  WorkerRig rig;
  const std::string answer = kHead + message("hi") + kTrailers;
  ScriptedOrigin origin(http_origin([&](const std::string&) { return answer; }));
  rig.go_to(origin.endpoint());
  EXPECT_EQ(rig.ask(call("Get") + message("hello") + kEnd), answer + "<EOF>");
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Record, Outcome::Recorded) == 1; }));
  origin.stop();
  rig.set_mode(Mode::Replay);
  EXPECT_EQ(rig.ask(call("Get", "grpc-encoding: gzip\r\n") + message(gzip, '\1') + kEnd), answer + "<EOF>");
  EXPECT_THAT(rig.ask(call("Get", "grpc-encoding: snappy\r\n") + message(gzip, '\1') + kEnd),
              HasSubstr("grpc-status: 9\r\n"));
  EXPECT_EQ(rig.count(Counter::GrpcUndecoded), 1U);
}

}  // namespace
}  // namespace tapdeck::server
