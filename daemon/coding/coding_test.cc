#include "daemon/coding/coding.h"

#include <gmock/gmock.h>

namespace tapdeck::coding {
namespace {

using testing::ElementsAre;

http::Headers with(std::string_view name, std::string_view value) {
  http::Headers headers;
  headers.add(name, value);
  return headers;
}

TEST(Codings, AreReadInTheOrderTheyWereApplied) {
  EXPECT_THAT(codings_of(with("Content-Encoding", "gzip, BR")).value(), ElementsAre(Coding::Gzip, Coding::Brotli));
  EXPECT_THAT(codings_of(with("content-encoding", "identity, x-gzip")).value(), ElementsAre(Coding::Gzip));
  EXPECT_THAT(codings_of({}).value(), ElementsAre());
  http::Headers two = with("Content-Encoding", "deflate");
  two.add("Content-Encoding", "zstd");
  EXPECT_THAT(codings_of(two).value(), ElementsAre(Coding::Deflate, Coding::Zstd));
  EXPECT_FALSE(codings_of(with("Content-Encoding", "compress"))) << "a coding we cannot read";
  EXPECT_FALSE(codings_of(with("Content-Encoding", "gzip,gzip,gzip,gzip"))) << "more layers than anyone means";
}

TEST(AcceptEncoding, FollowsTheRulesOfRfc9110) {
  const auto accept = [](std::string_view value) { return Accepted(with("Accept-Encoding", value)); };
  EXPECT_TRUE(Accepted({}).takes(Coding::Brotli)) << "no field: anything";
  EXPECT_FALSE(accept("").takes(Coding::Gzip)) << "an empty field: plain only";
  EXPECT_TRUE(accept("").takes(Coding::Identity));
  EXPECT_TRUE(accept("gzip;q=0.5, br").takes(Coding::Gzip));
  EXPECT_EQ(accept("gzip;q=0.5, br").best(), Coding::Brotli);
  EXPECT_EQ(accept("gzip; Q=0.25").weight(Coding::Gzip), 250);
  EXPECT_FALSE(accept("gzip;q=0").takes(Coding::Gzip));
  EXPECT_FALSE(accept("gzip;q=0.000, *").takes(Coding::Gzip));
  EXPECT_TRUE(accept("gzip;q=0, *").takes(Coding::Zstd));
  EXPECT_FALSE(accept("gzip, identity;q=0").takes(Coding::Identity));
  EXPECT_FALSE(accept("gzip, *;q=0").takes(Coding::Identity));
  EXPECT_EQ(accept("gzip, *;q=0").best(), Coding::Gzip);
}

}  // namespace
}  // namespace tapdeck::coding
