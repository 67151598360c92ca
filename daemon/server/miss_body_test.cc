// A miss says what differs inside the body, of what was recorded and asked over connections.
#include <gmock/gmock.h>

#include "daemon/coding/decoder.h"
#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string post(const std::string& body, const std::string& fields = {}) {
  return "POST /p HTTP/1.1\r\nHost: api.test\r\n" + fields + "Content-Length: " + std::to_string(body.size()) +
         "\r\n\r\n" + body;
}

std::string gzipped(std::string_view text) {
  coding::Encoder encoder(coding::Coding::Gzip);
  std::string out;
  EXPECT_TRUE(encoder.feed(text, out) && encoder.finish(out));
  return out;
}

// What replay says to the second when the first is on tape.
struct Told {
  std::string json, reason;
};
Told miss_of(const std::string& recorded, const std::string& requested, RigOptions options = {}) {
  WorkerRig rig(std::move(options));
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("x"); }));
  rig.go_to(origin.endpoint());
  EXPECT_THAT(rig.ask(recorded), HasSubstr(" 200 "));
  rig.set_mode(Mode::Replay);
  Told told{.json = rig.ask(requested), .reason = {}};
  EXPECT_EQ(rig.count(Counter::MissBody), 1U);
  EXPECT_TRUE(eventually([&] { return !rig.misses.list().empty(); }));
  if (!rig.misses.list().empty()) told.reason = rig.misses.list()[0].reason;
  return told;
}

TEST(MissBody, NamesTheJsonValueThatDiffers) {
  const Told told = miss_of(post(R"({"user":{"id":"a1"}})"), post(R"({"user":{"id":"b2"}})"));
  EXPECT_THAT(told.json, HasSubstr(R"({"where":"body","recorded":"<20 bytes, )"));
  EXPECT_THAT(told.json, HasSubstr(R"({"where":"body $.user.id","recorded":"\"a1\"","requested":"\"b2\""})"));
  EXPECT_THAT(told.json, HasSubstr("differs only in body $.user.id; send the same"));
  EXPECT_THAT(told.reason, testing::EndsWith(": differs in body $.user.id"));
  EXPECT_THAT(told.reason, Not(HasSubstr("b2"))) << "no body is logged";
}

TEST(MissBody, ComparesWhatACodingHolds) {
  const std::string text(5000, 'x');
  const Told told = miss_of(post(gzipped(text + "1"), "Content-Encoding: gzip\r\n"), post(text + "2"));
  EXPECT_THAT(told.json, HasSubstr(R"("recorded":"<5001 bytes, )"));
  EXPECT_THAT(told.json, HasSubstr(R"("requested":"<5001 bytes, )"));
  EXPECT_THAT(told.json, HasSubstr(R"({"where":"body at byte 5000","recorded":"...xxxxxxxxxxxxxxxx1")"));
}

TEST(MissBody, ShowsSizesOfTheSameKind) {
  const std::string text(100'000, 'x');
  const std::string coded = gzipped(text);
  const Told told =
      miss_of(post(coded, "Content-Encoding: gzip\r\n"), post(gzipped("x"), "Content-Encoding: gzip\r\n"));
  EXPECT_THAT(told.json, HasSubstr("\"recorded\":\"<" + std::to_string(coded.size()) + " bytes, "));
  EXPECT_THAT(told.json, HasSubstr("\"requested\":\"<" + std::to_string(gzipped("x").size()) + " bytes, "));
}

TEST(MissBody, SaysNothingOfTheBodiesOfOtherUrls) {
  WorkerRig rig;
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("x"); }));
  rig.go_to(origin.endpoint());
  rig.ask("POST /other HTTP/1.1\r\nHost: api.test\r\nContent-Length: 7\r\n\r\n{\"a\":1}");
  rig.set_mode(Mode::Replay);
  const std::string told = rig.ask(post(R"({"a":2})"));
  EXPECT_THAT(told, HasSubstr(R"("where":"body",)"));
  EXPECT_THAT(told, Not(HasSubstr("body $.a")));
}

TEST(MissBody, NoTextOfABodyIsLogged) {
  const std::string type = "Content-Type: application/x-www-form-urlencoded\r\n";
  const Told told = miss_of(post("a=1", type), post("supersecret-token-one", type));
  EXPECT_THAT(told.reason, Not(HasSubstr("supersecret")));
}

TEST(MissBody, OfAStoredBodyOfManySegmentsLooksAtTheBeginning) {
  const std::string tail(600'000, 'y');
  const Told told = miss_of(post("one" + tail), post("two" + tail));
  EXPECT_THAT(told.json, HasSubstr(R"({"where":"body at byte 0","recorded":"oneyyy)"));
  EXPECT_THAT(told.json, HasSubstr(R"("recorded":"<600003 bytes, )"));
}

TEST(MissBody, HidesWhatIsRedactedInUrls) {
  RigOptions options;
  options.config.redact.query = {"token"};
  const Told told = miss_of(post(R"({"token":"hunter2"})"), post(R"({"token":"hunter3"})"), std::move(options));
  EXPECT_THAT(told.json, HasSubstr(R"({"where":"body $.token","recorded":"[redacted:)"));
  EXPECT_THAT(told.json, Not(HasSubstr("hunter")));
}

}  // namespace
}  // namespace tapdeck::server
