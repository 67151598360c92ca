#include "daemon/modes/rendition.h"

#include <gtest/gtest.h>

namespace tapdeck::modes {
namespace {

using Body = Rendition::Body;
constexpr std::string_view kDate = "Sun, 06 Nov 1994 08:49:37 GMT";
constexpr std::string_view kLater = "Sun, 06 Nov 1994 08:49:38 GMT";

struct Fields : std::vector<std::pair<std::string, std::string>> {
  using vector::vector;
};

http::RequestHead get(const Fields& fields, std::string method = "GET") {
  http::RequestHead head;
  head.method = std::move(method);
  for (const auto& [name, value] : fields) head.headers.add(name, value);
  return head;
}

// A complete 200 of 1000 bytes.
store::Recording recorded(const Fields& fields, const Fields& asked_with = {}) {
  store::Recording recording;
  recording.request = get(asked_with);
  recording.response.status = 200;
  recording.response.reason = "OK";
  for (const auto& [name, value] : fields) recording.response.headers.add(name, value);
  recording.response_body.size = 1000;
  return recording;
}

int status_for(const Fields& asked, const Fields& fields, const std::string& method = "GET") {
  const auto rendition = render(get(asked, method), recorded(fields));
  return rendition ? rendition->head.status : 200;
}

TEST(Rendition, ConditionsFollowTheTableOfRfc9110) {
  const Fields tagged = {{"ETag", "\"a,b\""}, {"Last-Modified", std::string(kDate)}};
  const Fields weak = {{"ETag", "W/\"a\""}};
  EXPECT_EQ(status_for({{"If-None-Match", "\"x\", \"a,b\""}}, tagged), 304);
  EXPECT_EQ(status_for({{"If-None-Match", "W/\"a,b\""}}, tagged), 304) << "compared weakly";
  EXPECT_EQ(status_for({{"If-None-Match", "\"a\""}}, weak), 304);
  EXPECT_EQ(status_for({{"If-None-Match", "*"}}, {}), 304) << "something is there";
  EXPECT_EQ(status_for({{"If-None-Match", "\"a\""}}, tagged), 200) << "half of a tag is another tag";
  EXPECT_EQ(status_for({{"If-None-Match", "\"x\""}, {"If-Modified-Since", std::string(kLater)}}, tagged), 200)
      << "the date is not asked beside a tag";
  EXPECT_EQ(status_for({{"If-None-Match", "\"a,b\""}}, tagged, "HEAD"), 304);
  EXPECT_EQ(status_for({{"If-None-Match", "\"a,b\""}}, tagged, "POST"), 200) << "only GET and HEAD are computed";
  EXPECT_EQ(status_for({{"If-Modified-Since", std::string(kDate)}}, tagged), 304);
  EXPECT_EQ(status_for({{"If-Modified-Since", "Sunday, 06-Nov-94 08:49:37 GMT"}}, tagged), 304);
  EXPECT_EQ(status_for({{"If-Modified-Since", "Sun Nov  6 08:49:36 1994"}}, tagged), 200);
  EXPECT_EQ(status_for({{"If-Modified-Since", "yesterday"}}, tagged), 200);
  EXPECT_EQ(status_for({{"If-Match", "\"a,b\""}}, tagged), 200);
  EXPECT_EQ(status_for({{"If-Match", "\"z\""}}, tagged), 412);
  EXPECT_EQ(status_for({{"If-Match", "W/\"a\""}}, weak), 412) << "compared strongly";
  EXPECT_EQ(status_for({{"If-Match", "\"z\""}}, {}), 200) << "no tag was recorded: nothing to fail by";
  EXPECT_EQ(status_for({{"If-Unmodified-Since", "Sun, 06 Nov 1994 08:49:36 GMT"}}, tagged), 412);
  EXPECT_EQ(status_for({{"If-Unmodified-Since", std::string(kDate)}}, tagged), 200);
}

TEST(Rendition, ANotModifiedKeepsWhatCachesNeedAndDropsWhatDescribesTheBody) {
  const auto rendition = render(get({{"If-None-Match", "\"a\""}}), recorded({{"ETag", "\"a\""},
                                                                             {"Cache-Control", "max-age=5"},
                                                                             {"Content-Length", "1000"},
                                                                             {"Content-Type", "text/html"},
                                                                             {"Set-Cookie", "k=v"}}));
  ASSERT_TRUE(rendition);
  EXPECT_EQ(rendition->body, Body::Nothing);
  const http::Headers& headers = rendition->head.headers;
  EXPECT_EQ(headers.size(), 3U);
  EXPECT_EQ(headers.find("etag"), "\"a\"");
  EXPECT_EQ(headers.find("cache-control"), "max-age=5");
  EXPECT_EQ(headers.find("set-cookie"), "k=v");
}

std::string range_of(const std::string& range, const Fields& more = {}, const Fields& fields = {}) {
  Fields asked = more;
  asked.emplace_back("Range", range);
  const auto rendition = render(get(asked), recorded(fields));
  if (!rendition) return "200";
  const http::Headers& headers = rendition->head.headers;
  return std::to_string(rendition->head.status) + " " + std::string(headers.find("content-range").value_or("-")) +
         " of " + std::string(headers.find("content-length").value_or("-"));
}

TEST(Rendition, RangesFollowTheGrammarOfRfc9110) {
  EXPECT_EQ(range_of("bytes=0-99"), "206 bytes 0-99/1000 of 100");
  EXPECT_EQ(range_of("Bytes=990-"), "206 bytes 990-999/1000 of 10");
  EXPECT_EQ(range_of("bytes=-1"), "206 bytes 999-999/1000 of 1");
  EXPECT_EQ(range_of("bytes=-5000"), "206 bytes 0-999/1000 of 1000");
  EXPECT_EQ(range_of("bytes=999-99999999999999999999999"), "206 bytes 999-999/1000 of 1");
  EXPECT_EQ(range_of("bytes=1000-"), "416 bytes */1000 of 0");
  EXPECT_EQ(range_of("bytes=-0"), "416 bytes */1000 of 0");
  EXPECT_EQ(range_of("bytes=0-0, 2000-"), "206 bytes 0-0/1000 of 1") << "one of them can be had";
  EXPECT_EQ(range_of("bytes=0-0,5-6"), "200") << "several: the whole";
  for (const char* malformed : {"bytes=", "bytes=a-b", "bytes=5-2", "bytes=--1", "bytes=-", "lines=0-1", "bytes 0-1"}) {
    EXPECT_EQ(range_of(malformed), "200") << malformed;
  }
  EXPECT_EQ(range_of("bytes=0-1", {}, {{"Accept-Ranges", "none"}}), "200");
}

TEST(Rendition, IfRangeNamesTheRecordedVersionOrGetsTheWhole) {
  const Fields fields = {{"ETag", "\"a\""}, {"Last-Modified", std::string(kDate)}};
  EXPECT_EQ(range_of("bytes=0-0", {{"If-Range", "\"a\""}}, fields), "206 bytes 0-0/1000 of 1");
  EXPECT_EQ(range_of("bytes=0-0", {{"If-Range", "\"b\""}}, fields), "200");
  EXPECT_EQ(range_of("bytes=0-0", {{"If-Range", "W/\"a\""}}, fields), "200") << "weak tags do not name bytes";
  EXPECT_EQ(range_of("bytes=0-0", {{"If-Range", std::string(kDate)}}, fields), "206 bytes 0-0/1000 of 1");
  EXPECT_EQ(range_of("bytes=0-0", {{"If-Range", std::string(kLater)}}, fields), "200");
}

TEST(Rendition, AnOriginThatIgnoredTheSameConditionIsPlayedAsItWas) {
  const Fields asked = {{"Range", "bytes=0-9"}, {"If-None-Match", "\"a\""}};
  EXPECT_FALSE(render(get(asked), recorded({{"ETag", "\"a\""}}, asked)));
}

TEST(Rendition, OnlyCompleteRecordingsAreRendered) {
  store::Recording cut = recorded({{"ETag", "\"a\""}});
  cut.outcome.kind = store::Outcome::Kind::Truncated;
  EXPECT_FALSE(render(get({{"If-None-Match", "\"a\""}}), cut));
}

TEST(Rendition, AClientThatDoesNotTakeTheRecordedCodingGetsAnother) {
  const Fields zipped = {{"Content-Encoding", "gzip"}, {"ETag", "\"a\""}, {"Content-Length", "1000"}};
  const store::Recording recording = recorded(zipped, {{"Accept-Encoding", "gzip"}});
  EXPECT_FALSE(render(get({{"Accept-Encoding", "gzip, br"}}), recording));
  EXPECT_FALSE(render(get({{"Accept-Encoding", "*"}}), recording));
  const auto plain = render(get({{"Accept-Encoding", "br"}}), recording);
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->body, Body::Recoded);
  EXPECT_EQ(plain->encode, coding::Coding::Identity);
  EXPECT_EQ(plain->decode, std::vector{coding::Coding::Gzip});
  EXPECT_EQ(plain->head.headers.find("etag"), "W/\"a\"");
  EXPECT_EQ(plain->head.headers.find("vary"), "Accept-Encoding");
  EXPECT_FALSE(plain->head.headers.find("content-encoding"));
  EXPECT_FALSE(plain->head.headers.find("content-length")) << "not known until it is decoded";
  EXPECT_EQ(render(get({{"Accept-Encoding", "br, identity;q=0"}}), recording)->encode, coding::Coding::Brotli);
  EXPECT_EQ(render(get({}), recording)->encode, coding::Coding::Identity);
  EXPECT_FALSE(render(get({}), recorded(zipped))) << "as it was for a client that did not say either";
  EXPECT_FALSE(render(get({{"Accept-Encoding", "br"}}), recorded({{"Content-Encoding", "secret"}})));
}

// Which of the four digest fields a rendition still has.
std::string digests_of(const http::Headers& headers) {
  std::string out;
  for (const char* name : {"Repr-Digest", "Digest", "Content-Digest", "Content-MD5"}) {
    if (headers.count(name) > 0) out += out.empty() ? name : std::string(" ") + name;
  }
  return out;
}

TEST(Rendition, DigestsAreOfWhatIsSent) {
  const Fields digests = {{"Repr-Digest", "sha-256=:a:"}, {"Digest", "sha-256=a"}, {"Content-Digest", "sha-256=:a:"},
                          {"Content-MD5", "a"},           {"ETag", "\"a\""},       {"Trailer", "Repr-Digest"}};
  Fields zipped = digests;
  zipped.emplace_back("Content-Encoding", "gzip");
  store::Recording coded = recorded(zipped, {{"Accept-Encoding", "gzip"}});
  coded.response_trailers.add("Repr-Digest", "sha-256=:a:");
  const auto plain = render(get({}), coded);
  ASSERT_TRUE(plain);
  EXPECT_EQ(digests_of(plain->head.headers), "") << "another coding is another representation";
  EXPECT_TRUE(plain->trailers.empty());
  EXPECT_EQ(plain->head.headers.count("trailer"), 0U);
  const auto digests_for = [](const Fields& asked, const store::Recording& recording) {
    const auto rendition = render(get(asked), recording);
    return rendition ? digests_of(rendition->head.headers) : "as recorded";
  };
  const store::Recording recording = recorded(digests);
  EXPECT_EQ(digests_for({{"Range", "bytes=0-9"}}, recording), "Repr-Digest Digest") << "of the whole representation";
  EXPECT_EQ(digests_for({{"If-None-Match", "\"a\""}}, recording), "Repr-Digest Digest");
  EXPECT_EQ(digests_for({{"If-None-Match", "\"a\""}}, coded), "") << "of what that client was given";
  EXPECT_EQ(digests_for({{"If-Match", "\"b\""}}, recording), "") << "of the error, which is none";
  EXPECT_EQ(digests_for({{"Range", "bytes=2000-"}}, recording), "");
}

TEST(Rendition, WhoAsksForTheSameCodingsIsGivenTheSameCoding) {
  const Fields zipped = {{"Content-Encoding", "gzip"}};
  for (const char* asked : {"identity", "", "br", "br;q=0.5, gzip;q=0"}) {
    const store::Recording recording = recorded(zipped, {{"Accept-Encoding", asked}});
    EXPECT_FALSE(render(get({{"accept-encoding", asked}}), recording)) << asked;
    EXPECT_TRUE(render(get({{"Accept-Encoding", "deflate"}}), recording)) << asked;
    EXPECT_TRUE(render(get({}), recording)) << asked;
  }
  const store::Recording twice = recorded(zipped, {{"Accept-Encoding", "br"}, {"Accept-Encoding", "zstd"}});
  EXPECT_FALSE(render(get({{"Accept-Encoding", "br"}, {"Accept-Encoding", "zstd"}}), twice));
  EXPECT_TRUE(render(get({{"Accept-Encoding", "br"}}), twice));
}

TEST(Rendition, ANotModifiedStandsForWhatThatClientWasGiven) {
  const store::Recording recording = recorded(
      {{"Content-Encoding", "gzip"}, {"ETag", "\"a\""}, {"Accept-Ranges", "bytes"}}, {{"Accept-Encoding", "gzip"}});
  const auto plain = render(get({{"If-None-Match", "W/\"a\""}}), recording);
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->head.status, 304);
  EXPECT_EQ(plain->head.headers.find("etag"), "W/\"a\"");
  EXPECT_EQ(plain->head.headers.find("vary"), "Accept-Encoding");
  EXPECT_FALSE(plain->head.headers.find("accept-ranges"));
  const auto coded = render(get({{"If-None-Match", "\"a\""}, {"Accept-Encoding", "gzip"}}), recording);
  ASSERT_TRUE(coded);
  EXPECT_EQ(coded->head.headers.find("etag"), "\"a\"") << "the recorded one, as that client got it";
  EXPECT_FALSE(coded->head.headers.find("vary"));
}

TEST(Rendition, ThePlainRequestIsSeenToBePlainWithoutRendering) {
  const store::Recording plain = recorded({{"ETag", "\"a\""}});
  const store::Recording zipped = recorded({{"Content-Encoding", "gzip"}}, {{"Accept-Encoding", "gzip"}});
  EXPECT_TRUE(plays_as_recorded(get({{"Accept", "*/*"}, {"Referer", "x"}}), plain));
  EXPECT_FALSE(plays_as_recorded(get({{"range", "bytes=0-1"}}), plain));
  EXPECT_FALSE(plays_as_recorded(get({{"IF-NONE-MATCH", "*"}}), plain));
  EXPECT_TRUE(plays_as_recorded(get({{"Accept-Encoding", "gzip"}}), zipped));
  EXPECT_FALSE(plays_as_recorded(get({{"Accept-Encoding", "identity"}}), zipped));
}

TEST(Condition, IsTheSameTextForTheSameConditions) {
  EXPECT_EQ(condition_of(get({{"Accept", "*/*"}})), "");
  EXPECT_EQ(condition_of(get({{"RANGE", " bytes=0-1 "}, {"If-Range", "\"a\""}})),
            condition_of(get({{"if-range", "\"a\""}, {"Range", "bytes=0-1"}})));
  EXPECT_NE(condition_of(get({{"Range", "bytes=0-1"}})), condition_of(get({{"Range", "bytes=0-2"}})));
}

}  // namespace
}  // namespace tapdeck::modes
