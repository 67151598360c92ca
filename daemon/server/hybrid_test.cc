// Modes that ask the origin for what is not on tape: what answers there, what is recorded then, and what counts as a
// miss.
#include <gmock/gmock.h>

#include "daemon/server/grpc_rig.h"
#include "store/record_codec.h"

namespace tapdeck::server {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

std::string get(const std::string& target) {
  return "GET " + target + " HTTP/1.1\r\nHost: api.test\r\n\r\n";
}

RigOptions in_mode_by(Mode mode, config::Route route = {}) {
  RigOptions options;
  options.mode = mode;
  options.config.routes.push_back(std::move(route));
  return options;
}
config::Route forwards() {
  config::Route route;
  route.on_miss = config::OnMiss::Forward;
  return route;
}
config::Route once() {
  config::Route route;
  route.repeat = config::Repeat::Once;
  return route;
}

const std::string kPart = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly so far";

// As a crash leaves it: the request is in the store, and no answer.
void leave_unanswered(WorkerRig& rig, const Endpoint& origin, const std::string& target) {
  const store::Take take = tls::testing::must(rig.store->open_take("default", store::Append::No));
  const store::KeyHasher hasher(tls::testing::must(rig.store->key_secret("default")));
  const store::Redactor redactor({}, rig.store->redaction_secret());
  http::RequestHead head;
  head.method = "GET";
  head.target = target;
  head.headers.add("Host", "api.test");
  store::RecordingBuilder builder({hasher, redactor, take}, rig.store->allocate_id(), 0, "http", "api.test",
                                  origin.port, head);
  builder.finish({store::Outcome::Kind::Incomplete, 0, "crash"});
  std::vector<store::PendingWrite> writes;
  builder.take_writes(writes);
  ASSERT_TRUE(rig.store->write(writes, store::Durability::Wal));
}

TEST(Replay, WhatACrashLeftWithoutAnyAnswerIsAMiss) {
  WorkerRig rig(in_mode_by(Mode::Replay));
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("whole"); }));
  rig.go_to(origin.endpoint());
  leave_unanswered(rig, origin.endpoint(), "/a");
  rig.set_mode(Mode::Replay);
  EXPECT_THAT(rig.ask(get("/a")), StartsWith("HTTP/1.1 502 "));
  EXPECT_EQ(rig.outcomes(Mode::Replay, Outcome::Missed), 1U);
}

TEST(Hybrid, ABrokenResponseIsNoAnswerAndAWholeOneThenIs) {
  for (const char* end : {"<RST>", "<FIN>"}) {
    for (const Mode recorded_in : {Mode::Record, Mode::Hybrid}) {
      WorkerRig rig(in_mode_by(recorded_in));
      std::atomic<int> served{0};
      ScriptedOrigin origin(
          http_origin([&](const std::string&) { return ++served == 1 ? kPart + end : with_length("whole"); }));
      rig.go_to(origin.endpoint());
      EXPECT_THAT(rig.ask(get("/a")), HasSubstr("only so far"));
      EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
      if (recorded_in == Mode::Record) rig.set_mode(Mode::Hybrid);
      EXPECT_EQ(rig.ask(get("/a")), with_length("whole") + "<EOF>") << end;
      EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 2; }));
      origin.stop();
      EXPECT_EQ(rig.ask(get("/a")), with_length("whole") + "<EOF>") << end;
      EXPECT_EQ(served, 2);
    }
  }
}

TEST(Hybrid, WhatAClientLeftBehindIsNoAnswer) {
  WorkerRig rig(in_mode_by(Mode::Hybrid));
  std::atomic<int> connections{0};
  ScriptedOrigin origin([&](Wire& wire) {
    wire.read_until("\r\n\r\n");
    const bool is_first = ++connections == 1;
    wire.write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 10\r\n\r\n01234");
    if (is_first) wire.read_until("\r\n\r\n");  // until the proxy gives up, when its client is gone
    wire.write("56789");
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  EXPECT_TRUE(wire.write(get("/a")));
  EXPECT_THAT(wire.read_until("01234"), EndsWith("01234"));
  wire.reset();
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
  EXPECT_THAT(rig.ask(get("/a")), EndsWith("0123456789<EOF>"));
}

TEST(Hybrid, ABrokenCallIsNoAnswer) {
  WorkerRig rig(in_mode_by(Mode::Hybrid));
  std::atomic<int> served{0};
  ScriptedOrigin origin(http_origin([&](const std::string&) {
    return ++served == 1 ? kHead + message("part") + "<RST>" : kHead + message("whole") + kTrailers + "<FIN>";
  }));
  rig.go_to(origin.endpoint());
  const std::string asked = call("Get") + message("q") + kEnd;
  EXPECT_THAT(rig.ask(asked), HasSubstr("part"));
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
  EXPECT_THAT(rig.ask(asked), HasSubstr("whole"));
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 2; }));
  EXPECT_THAT(rig.ask(asked), HasSubstr("whole"));
  EXPECT_EQ(served, 2);
}

TEST(OnMissForward, OnlyWholeAnswersAreAnswers) {
  WorkerRig rig(in_mode_by(Mode::Record, forwards()));
  std::atomic<int> served{0};
  ScriptedOrigin origin(http_origin(
      [&](const std::string&) { return ++served == 1 ? kPart + "<RST>" : with_length(std::to_string(served)); }));
  rig.go_to(origin.endpoint());
  EXPECT_THAT(rig.ask(get("/a")), HasSubstr("only so far"));
  EXPECT_EQ(rig.ask(get("/b")), with_length("2") + "<EOF>");
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 2; }));
  rig.set_mode(Mode::Replay);
  EXPECT_EQ(rig.ask(get("/b")), with_length("2") + "<EOF>");
  EXPECT_EQ(rig.ask(get("/a")), with_length("3") + "<EOF>");
  EXPECT_EQ(rig.ask(get("/a")), with_length("4") + "<EOF>") << "nothing is recorded";
}

TEST(HybridOnce, EachRunGivesTheNthRequestTheNthAnswer) {
  WorkerRig rig(in_mode_by(Mode::Hybrid, once()));
  std::atomic<int> served{0};
  ScriptedOrigin origin(http_origin([&](const std::string&) { return with_length(std::to_string(++served)); }));
  rig.go_to(origin.endpoint());
  const auto run_of = [&rig](int requests) {
    std::string bodies;
    for (int i = 0; i < requests; ++i) {
      const std::string answer = rig.ask(get("/x"));
      bodies += answer.substr(answer.find("\r\n\r\n") + 4, 1);
    }
    return bodies;
  };
  EXPECT_EQ(run_of(3), "123");
  rig.set_mode(Mode::Hybrid);  // a newer take
  EXPECT_EQ(run_of(5), "12345") << "three of the tape, and two new ones behind them";
  for (int run = 0; run < 2; ++run) {
    rig.set_mode(Mode::Hybrid);
    EXPECT_EQ(run_of(5), "12345");
  }
  EXPECT_EQ(served, 5);
  origin.stop();
  rig.set_mode(Mode::Replay);
  EXPECT_EQ(run_of(5), "12345");
  EXPECT_THAT(rig.ask(get("/x")), HasSubstr("was used once"));
}

// X-N of the answer to `request`.
std::string number_of(WorkerRig& rig, const std::string& request) {
  const std::string answer = rig.ask(request);
  const size_t at = answer.find("X-N: ");
  return at == std::string::npos ? answer : answer.substr(at + 5, 1);
}

TEST(HybridOnce, AHeadIsRecordedBehindHeads) {
  WorkerRig rig(in_mode_by(Mode::Hybrid, once()));
  std::atomic<int> served{0};
  ScriptedOrigin origin(http_origin([&](const std::string&) {
    return "HTTP/1.1 200 OK\r\nX-N: " + std::to_string(++served) + "\r\nContent-Length: 0\r\n\r\n";
  }));
  rig.go_to(origin.endpoint());
  const std::string head = "HEAD /x HTTP/1.1\r\nHost: api.test\r\n\r\n";
  EXPECT_EQ(number_of(rig, head), "1");
  rig.set_mode(Mode::Hybrid);
  EXPECT_EQ(number_of(rig, head) + number_of(rig, get("/x")), "12");
  for (int run = 0; run < 3; ++run) {
    rig.set_mode(Mode::Hybrid);
    EXPECT_EQ(number_of(rig, head) + number_of(rig, get("/x")) + number_of(rig, head), "123") << run;
  }
  EXPECT_EQ(served, 3);
}

TEST(HybridOnce, ANotModifiedIsRecordedBehindThose) {
  WorkerRig rig(in_mode_by(Mode::Hybrid, once()));
  std::atomic<int> served{0};
  ScriptedOrigin origin(http_origin([&](const std::string&) {
    return "HTTP/1.1 304 Not Modified\r\nX-N: " + std::to_string(++served) + "\r\nETag: \"e\"\r\n\r\n";
  }));
  rig.go_to(origin.endpoint());
  const std::string asked = "GET /x HTTP/1.1\r\nHost: api.test\r\nIf-None-Match: \"e\"\r\n\r\n";
  EXPECT_EQ(number_of(rig, asked), "1");
  for (int run = 0; run < 3; ++run) {
    rig.set_mode(Mode::Hybrid);
    EXPECT_EQ(number_of(rig, asked) + number_of(rig, asked), "12") << run;
  }
  EXPECT_EQ(served, 2);
}

TEST(HybridOnce, ATakeThatOthersRecordedMeanwhileIsTheOneThatGoesOn) {
  WorkerRig rig(in_mode_by(Mode::Hybrid, once()));
  std::atomic<int> served{0};
  ScriptedOrigin origin(http_origin([&](const std::string&) { return with_length(std::to_string(++served)); }));
  rig.go_to(origin.endpoint());
  EXPECT_THAT(rig.ask(get("/x")), EndsWith("1<EOF>"));
  EXPECT_THAT(rig.ask(get("/x")), EndsWith("2<EOF>"));
  rig.set_mode(Mode::Hybrid);
  for (const char* end : {"1<EOF>", "2<EOF>"}) EXPECT_THAT(rig.ask(get("/x")), EndsWith(end));
  // The same once more in the take that is open now, as another target of this session would leave it.
  store::Recording recording = tls::testing::must(rig.store->list_recordings({})).items.front();
  store::PendingWrite write;
  write.take = recording.take = 2;
  write.session_number = tls::testing::must(rig.store->session("default")).number;
  write.id = rig.store->allocate_id();
  write.key = recording.key;
  store::encode_record(recording, write.encoded);
  std::vector<store::PendingWrite> writes;
  writes.push_back(std::move(write));
  ASSERT_TRUE(rig.store->write(writes, store::Durability::Wal));
  EXPECT_THAT(rig.ask(get("/x")), EndsWith("3<EOF>"));
  for (int run = 0; run < 2; ++run) {
    rig.set_mode(Mode::Hybrid);
    for (const char* end : {"1<EOF>", "3<EOF>"}) EXPECT_THAT(rig.ask(get("/x")), EndsWith(end)) << run;
  }
}

TEST(HybridOnce, CallsToo) {
  WorkerRig rig(in_mode_by(Mode::Hybrid, once()));
  std::atomic<int> served{0};
  ScriptedOrigin origin(http_origin(
      [&](const std::string&) { return kHead + message("answer " + std::to_string(++served)) + kTrailers + "<FIN>"; }));
  rig.go_to(origin.endpoint());
  const std::string asked = call("Get") + message("q") + kEnd;
  for (const char* answer : {"answer 1", "answer 2", "answer 3"}) EXPECT_THAT(rig.ask(asked), HasSubstr(answer));
  origin.stop();
  rig.set_mode(Mode::Replay);
  for (const char* answer : {"answer 1", "answer 2", "answer 3"}) EXPECT_THAT(rig.ask(asked), HasSubstr(answer));
}

TEST(Misses, WhatNeitherTapeNorOriginAnswersIsOne) {
  WorkerRig rig(in_mode_by(Mode::Hybrid, forwards()));
  rig.go_to(*Endpoint::parse("127.0.0.1:1"));
  for (const Mode mode : {Mode::Hybrid, Mode::Replay}) {
    rig.set_mode(mode);
    EXPECT_THAT(rig.ask(get("/a")), StartsWith("HTTP/1.1 502"));
    EXPECT_TRUE(eventually([&] { return rig.outcomes(mode, Outcome::Missed) == 1; })) << to_string(mode);
    EXPECT_EQ(rig.outcomes(mode, Outcome::Failed), 0U);
  }
  EXPECT_EQ(rig.count(Counter::MissOrigin), 2U);
  EXPECT_EQ(rig.store->stored_recordings(), 0U);
}

TEST(Hybrid, OfALongRequestWithoutAnAnswerNothingIsLeftInTheStore) {
  WorkerRig rig(in_mode_by(Mode::Hybrid));
  ScriptedOrigin origin(
      http_origin([](const std::string& request) { return request.starts_with("POST") ? "<FIN>" : with_length("x"); }));
  rig.go_to(origin.endpoint());
  const std::string body(300'000, 'x');
  const std::string post = "POST /a HTTP/1.1\r\nHost: api.test\r\nContent-Length: 300000\r\n\r\n" + body;
  EXPECT_THAT(rig.ask(post), StartsWith("HTTP/1.1 502"));
  EXPECT_THAT(rig.ask(get("/b")), EndsWith("x<EOF>"));
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
  EXPECT_EQ(rig.recordings_after_crash(), 1U);
}

TEST(Misses, AClientThatLeavesMissesNothing) {
  WorkerRig rig(in_mode_by(Mode::Hybrid));
  std::atomic<int> asked{0};
  ScriptedOrigin origin([&](Wire& wire) {
    wire.read_until("\r\n\r\n");
    ++asked;
    wire.read_until("\r\n\r\n");  // until the proxy gives up
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  EXPECT_TRUE(wire.write(get("/a")));
  EXPECT_TRUE(eventually([&] { return asked == 1; }));
  wire.reset();
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Hybrid, Outcome::Failed) == 1; }));
  EXPECT_EQ(rig.count(Counter::MissOrigin), 0U);
}

TEST(Recorded, AFinalHeadBehindAnInterimOneHasItsOwnTime) {
  WorkerRig rig;
  ScriptedOrigin origin(http_origin([](const std::string& request) {
    return (request.starts_with("GET /early") ? "HTTP/1.1 103 Early Hints\r\n\r\n" : "") + with_length("x");
  }));
  rig.go_to(origin.endpoint());
  EXPECT_THAT(rig.ask(get("/early")), EndsWith("x<EOF>"));
  EXPECT_THAT(rig.ask(get("/plain")), EndsWith("x<EOF>"));
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 2; }));
  const auto page = tls::testing::must(rig.store->list_recordings({}));
  ASSERT_EQ(page.items.size(), 2U);
  EXPECT_GT(page.items[0].provenance.timings.first_byte, 0U);
  EXPECT_GE(page.items[0].provenance.timings.head, page.items[0].provenance.timings.first_byte);
  EXPECT_EQ(page.items[1].provenance.timings.head, 0U) << "it came with the first byte";
}

}  // namespace
}  // namespace tapdeck::server
