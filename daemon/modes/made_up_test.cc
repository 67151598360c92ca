#include "daemon/modes/made_up.h"

#include <gtest/gtest.h>

namespace tapdeck::modes {
namespace {

TEST(MadeUp, IdsDigestsAndTimesAre) {
  for (const char* text : {
           "/locks/f0669b2ee5cd1e93e0ba3a7c2d9bb0b61fd0f7bd6ef5b1e0f4ffb2a44b3ed1c3",
           "/v2/app/blobs/uploads/550e8400-e29b-41d4-a716-446655440000",
           "_state=2Q4BoJmIbf7dX1aYk3hVt0Rr9sZuWc5pLq8NnEgM6yA",
           "uploads&uploadId=VXBsb2FkIElEIGZvciA2aWWpbmcncyBteS1tb3ZpZS5tMnRzIHVwbG9hZA",
           "/1700000000",
           "t=1700000000123&x=1",
       }) {
    EXPECT_TRUE(holds_made_up(text)) << text;
  }
}

TEST(MadeUp, NamesVersionsAndDatesAreNot) {
  for (const char* text : {
           "",
           "/",
           "/v2/library/python-requests/manifests/3.12.1",
           "/2024-01-02/report-of-the-year-2024",
           "/repos/some-long-organisation-name/releases/latest",
           "/users/12345/items/678",
           "sort=created_at&direction=descending&per_page=100",
       }) {
    EXPECT_FALSE(holds_made_up(text)) << text;
  }
}

}  // namespace
}  // namespace tapdeck::modes
