// Origins that answer before they have the whole request: what is recorded is found again.
#include <gmock/gmock.h>

#include "daemon/server/h2_wire.h"
#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

const std::string kTooLarge = "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno";

// Answers the head of a request with 413 and is gone.
ScriptedOrigin::End refuse(Wire& wire) {
  if (!wire.read_until("\r\n\r\n").ends_with("\r\n\r\n")) return ScriptedOrigin::End::Close;
  wire.write(kTooLarge);
  return ScriptedOrigin::End::Close;
}

std::string post(const std::string& fields, size_t size) {
  return "POST /up HTTP/1.1\r\nHost: api.test\r\n" + fields + "Content-Length: " + std::to_string(size) + "\r\n\r\n";
}

class EarlyAnswer : public testing::Test {
 protected:
  EarlyAnswer() : rig(to_http1()), origin_(refuse) { rig.go_to(origin_.endpoint()); }
  static RigOptions to_http1() {
    RigOptions options;
    options.config.routes.emplace_back().upstream_http = config::UpstreamHttp::V1;
    return options;
  }
  void stop_origin() {
    EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Record, Outcome::Recorded) == 1; }));
    origin_.stop();
    rig.set_mode(Mode::Replay);
  }
  WorkerRig rig;
  ScriptedOrigin origin_;
};

TEST_F(EarlyAnswer, WhatTheClientSendsOnBelongsToTheRequest) {
  const std::string body(3'000'000, 'b');
  const auto upload = [&] {
    Wire wire = rig.connect();
    std::thread sender([&] { wire.write(post("", body.size()) + body); });
    const std::string answer = wire.read_until("\r\n\r\nno");
    sender.join();
    return answer;
  };
  EXPECT_THAT(upload(), StartsWith("HTTP/1.1 413"));
  stop_origin();
  const auto listed = rig.store->list_recordings({}, 10);
  ASSERT_TRUE(listed);
  ASSERT_EQ(listed->items.size(), 1U);
  EXPECT_EQ(listed->items[0].request_body.size, body.size());
  EXPECT_THAT(upload(), StartsWith("HTTP/1.1 413"));
}

TEST_F(EarlyAnswer, AClientThatWaitsToBeInvitedIsRefusedWithoutItsBodyInReplayToo) {
  const auto offer = [&](const std::string& path) {
    Wire wire = rig.connect();
    std::string request = post("Expect: 100-continue\r\n", 1000);
    request.replace(request.find("/up"), 3, path);
    wire.write(request);
    return wire.read_until("\r\n\r\n");
  };
  EXPECT_THAT(offer("/up"), StartsWith("HTTP/1.1 413"));
  stop_origin();
  EXPECT_THAT(offer("/up"), StartsWith("HTTP/1.1 413"));
  EXPECT_THAT(offer("/up"), StartsWith("HTTP/1.1 413")) << "the last one repeats";
  EXPECT_THAT(offer("/other"), StartsWith("HTTP/1.1 100")) << "its body may be what is on the tape";
}

// As nginx refuses a method: the body was invited, is read and dropped, and the connection goes on.
ScriptedOrigin::End invite_and_refuse(Wire& wire) {
  while (wire.read_until("\r\n\r\n").ends_with("\r\n\r\n")) {
    wire.write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 405 Not Allowed\r\nContent-Length: 2\r\n\r\nno");
    wire.read_until("end.");
  }
  return ScriptedOrigin::End::Close;
}

TEST(InvitedBody, IsReadThoughItIsRefusedAndTheConnectionGoesOn) {
  WorkerRig rig;
  ScriptedOrigin origin(invite_and_refuse);
  rig.go_to(origin.endpoint());
  const auto upload_twice = [&] {
    Wire wire = rig.connect();
    for (int i = 0; i < 2; ++i) {
      wire.write(post("Expect: 100-continue\r\n", 8));
      EXPECT_THAT(wire.read_until("\r\n\r\n"), StartsWith("HTTP/1.1 100"));
      wire.write("the end.");
      EXPECT_THAT(wire.read_until("\r\n\r\nno"), StartsWith("HTTP/1.1 405"));
    }
  };
  upload_twice();
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Record, Outcome::Recorded) == 2; }));
  const auto listed = rig.store->list_recordings({}, 10);
  ASSERT_TRUE(listed);
  for (const store::Recording& recording : listed->items) EXPECT_EQ(recording.request_body.size, 8U);
  origin.stop();
  rig.set_mode(Mode::Replay);
  upload_twice();
  EXPECT_EQ(rig.outcomes(Mode::Replay, Outcome::Replayed), 2U);
}

// curl ends an upload that is refused at once, and short of its Content-Length.
TEST_F(EarlyAnswer, AnHttp2ClientThatStopsItsUploadGetsTheWholeAnswerAndItsLikeInReplay) {
  enum class Then { Stops, SendsAll, Waits };
  const auto upload = [&](Then then) {
    Wire raw = rig.connect();
    H2Wire wire(raw, http::Role::Client);
    http::Headers length;
    length.add("content-length", "30");
    const http::StreamId stream = wire.open_post("/up", length);
    EXPECT_TRUE(wire.codec().send_body(stream, "ten bytes.", std::nullopt));
    wire.flush();
    if (then == Then::SendsAll) {
      EXPECT_TRUE(wire.codec().send_body(stream, "and another twenty..", std::nullopt));
      EXPECT_TRUE(wire.codec().send_end(stream, {}));
      wire.flush();
    }
    std::string all = wire.until("HEAD");
    if (then == Then::Stops) {
      EXPECT_TRUE(raw.write(std::string_view("\0\0\0\0\1\0\0\0\1", 9))) << "DATA, empty, END_STREAM";
    }
    return all + ", " + wire.until("END");
  };
  const std::string answer = upload(Then::Stops);
  EXPECT_THAT(answer, StartsWith("HEAD 1 413"));
  EXPECT_THAT(answer, testing::EndsWith("END 1")) << answer;
  stop_origin();
  EXPECT_EQ(upload(Then::SendsAll), "HEAD 1 413, BODY 1 no, END 1");
  EXPECT_EQ(upload(Then::Waits), "HEAD 1 413, BODY 1 no, END 1");
  EXPECT_TRUE(eventually([&] { return rig.active() == 0; }));
}

}  // namespace
}  // namespace tapdeck::server
