// Forms that repeat a cookie of their request in its body: in replay both are what redaction put in place of it.
#include <gmock/gmock.h>

#include "daemon/server/worker_rig.h"
#include "store/recording_builder.h"

namespace tapdeck::server {
namespace {

using testing::EndsWith;
using testing::HasSubstr;

const std::string kToken = "s3cret-token-of-a-session";

std::string post(const std::string& cookie, const std::string& body) {
  return "POST /form HTTP/1.1\r\nHost: api.test\r\nCookie: csrftoken=" + cookie +
         "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

// Gives out a token at /login, and takes forms that have it twice.
class DoubleSubmit : public testing::TestWithParam<Mode> {
 protected:
  DoubleSubmit() { rig.go_to(origin.endpoint()); }
  void record() {
    rig.ask(kLogin);
    EXPECT_THAT(rig.ask(post(kToken, "csrf=" + kToken + "&user=bob")), EndsWith("welcome<EOF>"));
    EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 2; }));
  }
  // The token that replay gives out.
  std::string log_in() {
    const std::string answer = rig.ask(kLogin);
    const size_t begin = answer.find("[redacted:");
    EXPECT_NE(begin, std::string::npos) << answer;
    return answer.substr(begin, 19);
  }

  static inline const std::string kLogin = "GET /login HTTP/1.1\r\nHost: api.test\r\n\r\n";
  WorkerRig rig;
  ScriptedOrigin origin{http_origin([](const std::string& request) {
    if (request.contains("/login")) {
      return "HTTP/1.1 200 OK\r\nSet-Cookie: csrftoken=" + kToken + "; Path=/\r\nContent-Length: 0\r\n\r\n";
    }
    return with_length(request.contains("csrf=" + kToken) ? "welcome" : "forged");
  })};
};
INSTANTIATE_TEST_SUITE_P(, DoubleSubmit, testing::Values(Mode::Replay, Mode::Hybrid));

TEST_P(DoubleSubmit, IsAnsweredWithWhatReplayGaveOut) {
  record();
  rig.set_mode(GetParam());
  const std::string token = log_in();
  const std::string encoded = "%5Bredacted%3A" + token.substr(10, 8) + "%5D";
  EXPECT_THAT(rig.ask(post(token, "csrf=" + encoded + "&user=bob")), EndsWith("welcome<EOF>"));
  EXPECT_THAT(rig.ask(post(kToken, "csrf=" + kToken + "&user=bob")), EndsWith("welcome<EOF>")) << "who has the token";
  EXPECT_THAT(rig.ask(post(token, "csrf=" + encoded + "&user=eve")), HasSubstr("not_recorded"));
  EXPECT_EQ(rig.outcomes(GetParam(), Outcome::Replayed), 3U);
}

// Another store has other placeholders.
TEST_P(DoubleSubmit, IsAnsweredWhereTheSessionWasImported) {
  record();
  const TestDirectory folder;
  const std::string file = folder.path() + "/s.tape";
  ASSERT_TRUE(rig.store->export_session("default", file));
  rig.set_mode(Mode::Replay);
  const std::string token_here = log_in();
  WorkerRig other({.mode = Mode::Passthrough});
  other.go_to(origin.endpoint());
  ASSERT_TRUE(other.store->import_session(file, {}));
  other.set_mode(GetParam());
  EXPECT_THAT(other.ask(kLogin), HasSubstr(token_here)) << "as it is on tape";
  EXPECT_THAT(other.ask(post(token_here, "csrf=" + token_here + "&user=bob")), EndsWith("welcome<EOF>"));
  EXPECT_THAT(other.ask(post(kToken, "csrf=" + kToken + "&user=bob")), EndsWith("welcome<EOF>"));
  EXPECT_EQ(other.outcomes(GetParam(), Outcome::Replayed), 3U);
}

TEST_P(DoubleSubmit, WhatIsMadeOfItOtherwiseIsExplained) {
  record();
  rig.set_mode(Mode::Replay);
  const std::string token = log_in();
  const std::string answer =
      rig.ask("POST /form HTTP/1.1\r\nHost: api.test\r\nContent-Length: 29\r\n\r\ntoken=" + token + "&a=b");
  EXPECT_THAT(answer, HasSubstr("carries a placeholder"));
}

// As versions did that compared every body as it is.
TEST_P(DoubleSubmit, OnOlderTapesTheTokenItselfIsTheSame) {
  record();
  const std::string body = "csrf=" + kToken + "&user=old";
  const store::KeyHasher hasher(tls::testing::must(rig.store->key_secret("default")));
  const store::Redactor redactor({}, rig.store->redaction_secret());
  const store::Take take = tls::testing::must(rig.store->open_take("default", store::Append::No));
  const auto recent = tls::testing::must(rig.store->list_recordings({})).items.back();
  store::RecordingBuilder builder({hasher, redactor, take}, rig.store->allocate_id(), 0, recent.scheme, recent.host,
                                  recent.port, recent.request);
  builder.body(store::BodySide::Request, body, 0);
  builder.response(recent.response);
  builder.body(store::BodySide::Response, "welcome", 0);
  builder.finish({});
  std::vector<store::PendingWrite> writes;
  builder.take_writes(writes);
  EXPECT_TRUE(rig.store->write(writes, store::Durability::Wal));
  rig.set_mode(GetParam());
  EXPECT_THAT(rig.ask(post(kToken, body)), EndsWith("welcome<EOF>"));
  EXPECT_EQ(rig.outcomes(GetParam(), Outcome::Replayed), 1U);
}

}  // namespace
}  // namespace tapdeck::server
