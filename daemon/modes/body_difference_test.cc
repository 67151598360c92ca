#include "daemon/modes/body_difference.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/coding/decoder.h"

namespace tapdeck::modes {
namespace {

using store::Difference;
using testing::ElementsAre;
using testing::IsEmpty;

struct Body {
  std::string bytes;
  std::string type = {};
  std::string coding = {};
};

SeenBody seen(const Body& body) {
  http::Headers fields;
  if (!body.type.empty()) fields.add("Content-Type", body.type);
  if (!body.coding.empty()) fields.add("Content-Encoding", body.coding);
  return see_body(fields, std::string_view(body.bytes).substr(0, kSeenBody), body.bytes.size());
}

std::vector<Difference> differences(const Body& recorded, const Body& requested,
                                    const std::vector<std::string>& secret = {}) {
  const store::Redactor redactor({{}, secret}, store::Secret{});
  return body_differences(seen(recorded), seen(requested), redactor);
}

std::string gzipped(std::string_view text) {
  coding::Encoder encoder(coding::Coding::Gzip);
  std::string out;
  EXPECT_TRUE(encoder.feed(text, out) && encoder.finish(out));
  return out;
}

constexpr const char* kForm = "application/x-www-form-urlencoded; charset=utf-8";

TEST(BodyDifference, NamesJsonValues) {
  EXPECT_THAT(differences({R"({"user":{"id":"a"},"n":1})"}, {R"({"n":1,"user":{"id":"b"}})"}),
              ElementsAre(Difference{"body $.user.id", "\"a\"", "\"b\""}));
  EXPECT_THAT(differences({R"({"a":1})"}, {R"({"b":{"c":2}})"}),
              ElementsAre(Difference{"body $.a", "1", "<absent>"}, Difference{"body $.b", "<absent>", "{...}"}));
  EXPECT_EQ(differences({"[1,2,3,4,5,6,7,8]"}, {"[0,0,0,0,0,0,0,0]"}).size(), 5U);
}

TEST(BodyDifference, NamesJsonWhateverItsTypeIs) {
  EXPECT_THAT(differences({R"({"a":1})", kForm}, {R"({"a":2})", kForm}), ElementsAre(Difference{"body $.a", "1", "2"}))
      << "curl -d";
}

TEST(BodyDifference, SaysThatJsonIsOnlySpeltInAnotherWay) {
  EXPECT_THAT(differences({R"({"a":1})"}, {R"({"a": 1})"}),
              ElementsAre(Difference{"body at byte 5 (the same values)", R"({"a":1})", R"({"a": 1})"}));
}

TEST(BodyDifference, NamesFieldsOfForms) {
  EXPECT_THAT(differences({"a=1&nonce=x&b=2&gone=", kForm}, {"b=2&a=1&nonce=y&new=", kForm}),
              ElementsAre(Difference{"body field gone", "", "<absent>"}, Difference{"body field new", "<absent>", ""},
                          Difference{"body field nonce", "x", "y"}));
  EXPECT_THAT(differences({"a=1&a=2", kForm}, {"a=1&a=3", kForm}), ElementsAre(Difference{"body field a", "2", "3"}));
  EXPECT_THAT(differences({"a=1&b=2", kForm}, {"b=2&a=1", kForm}),
              ElementsAre(Difference{"body at byte 0 (the same values)", "a=1&b=2", "b=2&a=1"}));
  EXPECT_THAT(differences({"a=1"}, {"a=2"}), ElementsAre(Difference{"body at byte 2", "a=1", "a=2"})) << "no form";
}

TEST(BodyDifference, OfAFormThatIsNoneNamesNoField) {
  const Difference bytes{"body at byte 0", "a=1", "supersecret-token-one"};
  EXPECT_THAT(differences({"a=1", kForm}, {"supersecret-token-one", kForm}), ElementsAre(bytes)) << "curl -d";
  EXPECT_EQ(differences({"a=1&secret", kForm}, {"a=2&secret", kForm})[0].where, "body at byte 2");
}

TEST(BodyDifference, NamesTheBoundaryAndWhatElseDiffers) {
  const auto body = [](const std::string& boundary, const std::string& content) {
    const std::string bytes =
        "--" + boundary + "\r\nContent-Type: text/plain\r\n\r\n" + content + "\r\n--" + boundary + "--\r\n";
    return Body{bytes, "Multipart/related; boundary=\"" + boundary + "\"; type=x"};
  };
  const Difference boundary{"body multipart boundary", "==1==", "===22==="};
  EXPECT_THAT(differences(body("==1==", "same"), body("===22===", "same")), ElementsAre(boundary));
  const auto more = differences(body("==1==", "same"), body("===22===", "other"));
  ASSERT_EQ(more.size(), 2U);
  EXPECT_EQ(more[0], boundary);
  EXPECT_EQ(more[1], (Difference{"body at byte 37", "...: text/plain\r\n\r\nsame\r\n--==1==--\r\n",
                                 "...: text/plain\r\n\r\nother\r\n--==1==--\r\n"}));
  const std::string type = "multipart/form-data; boundary=b";
  EXPECT_THAT(differences({"--b\r\n1", type}, {"--b\r\n2", type}),
              ElementsAre(Difference{"body at byte 5", "--b\r\n1", "--b\r\n2"}));
  EXPECT_THAT(differences({"1", "multipart/x; boundary=\"open"}, {"2", "multipart/x"}),
              ElementsAre(Difference{"body at byte 0", "1", "2"}));
}

TEST(BodyDifference, ComparesWithoutContentCodings) {
  EXPECT_THAT(differences({gzipped(R"({"a":1})"), "", "gzip"}, {R"({"a":2})"}),
              ElementsAre(Difference{"body $.a", "1", "2"}));
  EXPECT_EQ(seen({gzipped(std::string(5000, 'x')), "", "gzip"}).text.size(), 5000U);
  EXPECT_EQ(seen({"no gzip", "", "gzip"}).text, "no gzip") << "that is what the key has";
  const std::string cut = gzipped("text").substr(0, 15);
  EXPECT_EQ(seen({cut, "", "gzip"}).text, cut);
}

TEST(BodyDifference, LooksAtSoMuchAndNoFurther) {
  const std::string same(kSeenBody, 'x');
  EXPECT_THAT(differences({same + "1"}, {same + "2"}),
              ElementsAre(Difference{"body beyond byte 65536", "<not compared>", "<not compared>"}));
  EXPECT_THAT(differences({same}, {same + "2"}),
              ElementsAre(Difference{"body beyond byte 65536", "<not compared>", "<not compared>"}));
  EXPECT_EQ(differences({"short"}, {"short" + same})[0].where, "body at byte 5");
  const SeenBody bomb = seen({gzipped(std::string(4 << 20, 'x')), "", "gzip"});
  EXPECT_EQ(bomb.text.size(), kSeenBody);
  EXPECT_FALSE(bomb.is_whole);
  std::string noise;
  for (uint32_t i = 1; noise.size() < 3 * kSeenBody; i = i * 1664525 + 1013904223) noise += static_cast<char>(i >> 24);
  const SeenBody long_coded = seen({gzipped(noise), "", "gzip"});
  EXPECT_EQ(long_coded.text, noise.substr(0, long_coded.text.size())) << "of what is no more than begun";
  EXPECT_GT(long_coded.text.size(), 1000U);
  EXPECT_FALSE(long_coded.is_whole);
}

TEST(BodyDifference, IsNoneOfBodiesThatAreTheSame) {
  EXPECT_THAT(differences({"x"}, {"x"}), IsEmpty());
  EXPECT_THAT(differences({""}, {""}), IsEmpty());
}

TEST(BodyDifference, HidesWhatTheRedactorHides) {
  const std::string json = R"({"user":{"Token":"hunter2","seen":1}})",
                    other = R"({"user":{"Token":"hunter3","seen":1}})";
  for (const auto& found :
       {differences({json}, {other}, {"token"}), differences({json}, {other}, {"user"}),
        differences({"token=hunter2", kForm}, {"token=hunter3", kForm}, {"token"}),
        differences({R"({"u":"https:\/\/me:hunter2@x.test\/"})"}, {R"({"u":"https:\/\/me:hunter3@x.test\/"})"}),
        differences({R"(["https://x.test/?a=1&token=hunter2"])"}, {R"(["https://x.test/?a=1&token=hunter3"])"},
                    {"token"})}) {
    ASSERT_EQ(found.size(), 1U);
    EXPECT_THAT(found[0].recorded, testing::HasSubstr("[redacted:"));
    EXPECT_THAT(found[0].requested, testing::HasSubstr("[redacted:"));
    EXPECT_NE(found[0].recorded, found[0].requested);
    EXPECT_EQ((found[0].recorded + found[0].requested).find("hunter"), std::string::npos);
  }
  EXPECT_EQ(differences({json}, {other})[0].recorded, "\"hunter2\"") << "nobody named it";
}

TEST(BodyDifference, OfBytesHidesAllThatANameOfASecretStandsBefore) {
  const std::string json = R"({"password":"hunterone","a":1})", beyond(kSeenBody, 'x');
  const std::string type = "multipart/form-data; boundary=b";
  const auto part = [](const std::string& value) {
    return "--b\r\nContent-Disposition: form-data; name=password\r\n\r\n" + value + "\r\n--b--\r\n";
  };
  const std::string far(3000, 'y');
  for (const auto& found :
       {differences({json}, {"a=1", kForm}, {"Password"}), differences({"a=1", kForm}, {json}, {"password"}),
        differences({R"({"password":"hunter1)" + beyond}, {R"({"password":"hunter2)" + beyond}, {"password"}),
        differences({part("hunter1"), type}, {part("hunter2"), type}, {"password"}),
        differences({part(far + "hunter1"), type}, {part(far + "hunter2"), type}, {"password"}),
        differences({"x {%22password%22:%22hunter1"}, {"x {%22password%22:%22hunter2"}, {"password"}),
        differences({"see https://x.test/?password=hunter2"}, {"see https://x.test/?password=hunter3"},
                    {"password"})}) {
    ASSERT_EQ(found.size(), 1U);
    EXPECT_THAT(found[0].where, testing::StartsWith("body at byte"));
    EXPECT_EQ(found[0].recorded, "<not shown>");
    EXPECT_EQ(found[0].requested, "<not shown>");
  }
  EXPECT_EQ(differences({"passwords 1"}, {"passwords 2"}, {"password"})[0].recorded, "passwords 1") << "another word";
}

TEST(BodyDifference, HidesWhatAPlaceholderStandsFor) {
  EXPECT_THAT(differences({"csrf=hunter2", kForm}, {"csrf=%5Bredacted%3A8bb70e47%5D", kForm}),
              ElementsAre(Difference{"body field csrf", "<not shown>", "%5Bredacted%3A8bb70e47%5D"}));
  EXPECT_THAT(differences({"hunter2"}, {"[redacted:8bb70e47]"}),
              ElementsAre(Difference{"body at byte 0", "<not shown>", "[redacted:8bb70e47]"}));
}

}  // namespace
}  // namespace tapdeck::modes
