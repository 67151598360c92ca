#include "daemon/upstream/bound_auth.h"

#include <gtest/gtest.h>

namespace tapdeck::upstream {
namespace {

TEST(BoundAuth, IsSeenInCredentialsOfNtlmAndNegotiateOnly) {
  const struct {
    const char *name, *value;
    bool bound;
  } table[] = {{"Authorization", "NTLM TlRMTVNTUAAB", true},
               {"authorization", "negotiate YIIJ", true},
               {"Proxy-Authorization", "Negotiate YIIJ", true},
               {"Proxy-Authorization", " NTLM", true},
               {"Authorization", "Basic TlRMTQ==", false},
               {"Authorization", "NTLMv9 x", false},
               {"X-Authorization", "NTLM x", false}};
  for (const auto& row : table) {
    http::RequestHead head;
    head.headers.add("Host", "x");
    head.headers.add(row.name, row.value);
    EXPECT_EQ(has_bound_credentials(head), row.bound) << row.name << ": " << row.value;
  }
}

TEST(BoundAuth, IsSeenInChallengesOf401And407WhereverTheyStand) {
  const struct {
    int status;
    const char *name, *value;
    bool bound;
  } table[] = {{401, "WWW-Authenticate", "NTLM", true},
               {401, "www-authenticate", "Basic realm=\"a, b\", Negotiate", true},
               {401, "WWW-Authenticate", "NTLM,Basic realm=x", true},
               {407, "Proxy-Authenticate", "Negotiate oYIB", true},
               {401, "WWW-Authenticate", "Basic realm=\"NTLM\"", false},
               {401, "WWW-Authenticate", "", false},
               {200, "WWW-Authenticate", "NTLM", false}};
  for (const auto& row : table) {
    http::ResponseHead head;
    head.status = row.status;
    head.headers.add(row.name, row.value);
    EXPECT_EQ(is_bound_challenge(head), row.bound) << row.status << ' ' << row.name << ": " << row.value;
  }
}

}  // namespace
}  // namespace tapdeck::upstream
