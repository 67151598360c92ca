#include "daemon/admin/error_response.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tapdeck::admin {
namespace {

using testing::HasSubstr;

TEST(ErrorResponse, ATakenNameIsAnsweredWithWhatToDo) {
  const Response response = from(fail(Code::AlreadyExists, "session 'x' exists"), 201);
  EXPECT_EQ(response.status, 409);
  EXPECT_THAT(response.body, HasSubstr(R"("next":"choose another name)"));
}

TEST(ErrorResponse, AnImportThatCannotBeReadIsTheClientsMistake) {
  for (const Code code : {Code::Corrupt, Code::Truncated, Code::Unsupported}) {
    const Response response = from_import(fail(code, "/f is no export"));
    EXPECT_EQ(response.status, 422);
    EXPECT_THAT(response.body, HasSubstr("session export"));
  }
  EXPECT_EQ(from_import(fail(Code::NotFound, "/f")).status, 404);
  EXPECT_EQ(from_import(fail(Code::NoSpace, "full")).status, 507);
  EXPECT_EQ(from_import("{}").status, 201);
}

}  // namespace
}  // namespace tapdeck::admin
