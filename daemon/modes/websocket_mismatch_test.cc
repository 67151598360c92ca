#include "daemon/modes/websocket_mismatch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/modes/websocket_script.h"

namespace tapdeck::modes {
namespace {

using ::testing::EndsWith;
using Kind = store::Message::Kind;

std::vector<WebSocketWords> texts(const std::vector<std::string>& payloads) {
  std::vector<WebSocketWords> out;
  for (const std::string& payload : payloads) out.push_back({Kind::Text, payload});
  return out;
}

WebSocketMismatch by_value(const std::vector<std::string>& recorded, const std::string& received,
                           const std::vector<std::string>& ignored = {}) {
  const JsonRules rules(ignored);
  return mismatch_with(texts(recorded), {Kind::Text, received}, &rules);
}

TEST(WebSocketMismatch, ComparesWithTheMessageThatDiffersLeast) {
  const std::vector<std::string> phoenix = {R"([null,"1","room:1","phx_join",{}])",
                                            R"([null,"9","room:1","msg",{"x":1}])",
                                            R"([null,"2","phoenix","heartbeat",{}])"};
  EXPECT_EQ(by_value(phoenix, R"([null,"7","phoenix","heartbeat",{}])").reason, "differs at $[1]");
  EXPECT_EQ(by_value({R"("ping")", R"({"type":"sub","id":1,"ts":2})"}, R"({"type":"sub","id":5,"ts":6})").reason,
            "differs at $.id")
      << "what has nothing in common is not the nearest for being short";
  EXPECT_EQ(by_value({"m-1", "hello", "heartbeat 1"}, "heartbeat 2").reason, "differs at byte 10");
  EXPECT_EQ(by_value({"heartbeat 1", R"({"n":1})"}, R"({"n":2})").reason, "differs at $.n");
}

TEST(WebSocketMismatch, OfEquallyNearOnesTheFirstIsMeant) {
  EXPECT_EQ(by_value({R"({"a":1,"b":1})", R"({"a":2,"b":2})"}, R"({"a":2,"b":1})").reason, "differs at $.a");
}

TEST(WebSocketMismatch, NamesTheWholeRuleThatWouldHaveMatched) {
  const std::string recorded = R"({"id":"a","params":{"meta":{"ts":1,"trace":"x"},"k":0},"v":1})";
  const std::string received = R"({"id":"b","params":{"meta":{"ts":2,"trace":"y"},"k":0},"v":2})";
  EXPECT_EQ(by_value({recorded}, received, {"$.v"}).rule,
            R"(ignore = ["$.v", "$.id", "$.params.meta.trace", "$.params.meta.ts"])");
  EXPECT_EQ(by_value({R"({"a b":1})"}, R"({"a b":2})").rule, R"(ignore = ["$['a b']"])");
}

TEST(WebSocketMismatch, NamesNoRuleWhereThereIsNone) {
  EXPECT_EQ(by_value({"one"}, "two").rule, "");
  EXPECT_EQ(by_value({R"({"a":1})"}, R"({"b":1})").rule, "") << "nothing would be compared";
  EXPECT_EQ(by_value({R"({"\"":1})"}, R"({"\"":2})").rule, "") << "would need escapes";
  EXPECT_EQ(by_value({R"({"\u007f":1})"}, R"({"\u007f":2})").rule, "") << "would need escapes";
  std::string recorded = "[0", received = "[0";
  for (int i = 0; i < 1000; ++i) recorded += ",1", received += ",2";
  EXPECT_EQ(by_value({recorded + ']'}, received + ']').rule, "") << "too long to read";
}

TEST(WebSocketMismatch, ByBytesTheNextOneIsMeant) {
  const WebSocketMismatch wrong = mismatch_with(texts({"{\"a\":1}"}), {Kind::Text, "{\"a\": 1}"}, nullptr);
  EXPECT_EQ(wrong.reason, "differs at byte 5");
  EXPECT_EQ(wrong.rule, "");
}

TEST(WebSocketMismatch, SaysWhichKindWasExpectedWhereNoneIsOfTheOther) {
  const JsonRules rules({});
  EXPECT_EQ(mismatch_with(texts({"a"}), {Kind::Binary, "a"}, &rules).reason, "text expected, binary received");
}

TEST(WebSocketMismatch, LooksAtABoundedPartOfALongRecording) {
  std::vector<std::string> recorded(20'000, '"' + std::string(1000, 'x') + '"');
  recorded.emplace_back(R"({"n":1})");
  EXPECT_EQ(by_value(recorded, R"({"n":2})").reason, "differs at $") << "the nearest is far behind";
}

// A client that says heartbeats with a number that grows, and this time one more than is on tape.
TEST(WebSocketMismatch, OfAScriptIsWithWhatHasComeToo) {
  store::Recording recording;
  const std::string join = R"(["1","join"])", beat = R"(["2","beat"])", message = R"(["3","say"])";
  const std::string said = join + beat + message;
  uint64_t offset = 0;
  for (const std::string& one : {join, beat, message}) {
    store::Message kept;
    kept.kind = Kind::Text;
    kept.offset = offset;
    kept.length = one.size();
    offset += one.size();
    recording.messages.push_back(kept);
  }
  WebSocketScript script(recording, said, "", {});
  EXPECT_TRUE(script.received(Kind::Text, join, 0));
  EXPECT_TRUE(script.received(Kind::Text, beat, 0));
  const std::string again = R"(["9","beat"])";
  ASSERT_FALSE(script.received(Kind::Text, again, 0));
  const WebSocketMismatch wrong = script.mismatch(Kind::Text, again);
  EXPECT_EQ(wrong.reason, "message 3: differs at $[0]") << "not $[1], as compared with what is expected next";
  EXPECT_EQ(wrong.rule, R"(ignore = ["$[0]"])");
  EXPECT_TRUE(script.received(Kind::Text, message, 0));
  ASSERT_FALSE(script.received(Kind::Text, again, 0));
  EXPECT_THAT(script.mismatch(Kind::Text, again).reason, EndsWith("differs at $[0]")) << "all has come";
}

}  // namespace
}  // namespace tapdeck::modes
