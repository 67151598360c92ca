#include "daemon/modes/operation_fields.h"

#include <gmock/gmock.h>

#include "store/redact.h"

namespace tapdeck::modes {
namespace {

using Fields = std::vector<http::Headers::Field>;

const store::KeyHasher kHasher(store::Secret{1});

store::KeyBuilder asking_with(const Fields& fields) {
  http::Headers headers;
  for (const auto& [name, value] : fields) headers.add(name, value);
  store::KeyBuilder key(kHasher, "https", "a.test", 443, "POST", "/");
  add_operation_fields(key, headers);
  return key;
}

store::Key key_with(const Fields& fields) {
  return asking_with(fields).key();
}

TEST(OperationFields, TellRequestsOfOneUrlApart) {
  for (const char* name : {"X-Amz-Target", "X-Amz-Copy-Source", "X-Amz-Copy-Source-Range", "X-Ms-Copy-Source",
                           "X-Goog-Copy-Source", "SOAPAction", "Destination", "Depth", "X-HTTP-Method-Override",
                           "X-Method-Override", "X-HTTP-Method", "X-HgArg-1", "X-HgArg-12"}) {
    EXPECT_NE(key_with({{name, "a"}}), key_with({{name, "b"}})) << name;
    EXPECT_NE(key_with({{name, ""}}), key_with({})) << name;
  }
}

TEST(OperationFields, AreTheSameInAnyCaseAndOrder) {
  const Fields fields = {{"X-HgArg-1", "cmds="}, {"Accept", "x"}, {"Depth", "1"}, {"X-HgArg-2", "heads"}};
  const Fields others = {{"depth", "1"}, {"x-hgarg-2", "heads"}, {"x-hgarg-1", "cmds="}};
  EXPECT_EQ(key_with(fields), key_with(others));
  EXPECT_NE(key_with({{"X-HgArg-1", "heads"}, {"X-HgArg-2", "cmds="}}),
            key_with({{"X-HgArg-1", "cmds="}, {"X-HgArg-2", "heads"}}));
}

TEST(OperationFields, AllOthersDoNotCount) {
  for (const char* name : {"X-Amz-Date", "X-Amz-Content-Sha256", "Date", "Authorization", "Accept", "X-Request-Id",
                           "Depth-Noise", "X-HgProto-1", ""}) {
    EXPECT_EQ(key_with({{name, "a"}}), key_with({})) << name;
  }
}

// What is shown of them was recorded redacted, and is redacted when it is asked for.
TEST(OperationFields, AMissShowsTheirValuesRedacted) {
  const store::Redactor redactor({{"SOAPAction"}, {"token"}}, store::Secret{5});
  store::Recording recording;
  recording.scheme = "https";
  recording.host = "a.test";
  recording.port = 443;
  recording.request.method = "POST";
  recording.request.target = "/";
  for (const auto& [name, value] : Fields{{"X-Amz-Target", "Db.Scan"}, {"soapaction", "s3cret"}}) {
    recording.request.headers.add(name, value);
  }
  const store::KeyBuilder recorded = asking_with({{"X-Amz-Target", "Db.Scan"}, {"soapaction", "s3cret"}});
  recording.dimensions = recorded.parts().dimensions;
  redactor.redact(recording);
  store::KeyParts asked =
      asking_with({{"x-amz-target", "Db.Get"}, {"Destination", "/b?token=s3cret"}, {"SOAPAction", "s3cret"}}).parts();
  redactor.redact(asked);
  const auto differs = store::differences(store::parts_of(recording), asked);
  ASSERT_EQ(differs.size(), 2U) << "one of three is the same";
  EXPECT_EQ(differs[0].where, "header:destination");
  EXPECT_EQ(differs[0].recorded, "<absent>");
  EXPECT_THAT(differs[0].requested, testing::StartsWith("/b?token=[redacted:"));
  EXPECT_EQ(differs[1], (store::Difference{"header:x-amz-target", "Db.Scan", "Db.Get"}));
}

}  // namespace
}  // namespace tapdeck::modes
