// Requests that differ only in a header field that says what they ask for: each gets its own answer, and what is not on
// tape is not taken for what is.
#include <gmock/gmock.h>

#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

using testing::HasSubstr;

std::string call(const std::string& operation) {
  return "POST / HTTP/1.1\r\nHost: api.test\r\nX-Amz-Target: Db." + operation + "\r\nContent-Length: 2\r\n\r\n{}";
}

// Answers with the operation that it was asked for.
std::string operation_in(const std::string& request) {
  const size_t begin = request.find("Db.");
  return with_length(request.substr(begin, request.find('\r', begin) - begin));
}

TEST(OperationFields, GetTheirOwnAnswersInReplay) {
  WorkerRig rig;
  ScriptedOrigin origin(http_origin(operation_in));
  rig.go_to(origin.endpoint());
  rig.ask(call("Scan"));
  rig.ask(call("GetItem"));
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 2; }));
  origin.stop();
  rig.set_mode(Mode::Replay);
  EXPECT_EQ(rig.ask(call("GetItem")), with_length("Db.GetItem") + "<EOF>");
  EXPECT_EQ(rig.ask(call("Scan")), with_length("Db.Scan") + "<EOF>");
  const std::string missed = rig.ask(call("DeleteTable"));
  EXPECT_THAT(missed, HasSubstr("502"));
  EXPECT_THAT(missed, HasSubstr("\"where\":\"header:x-amz-target\""));
  EXPECT_THAT(missed, HasSubstr("\"requested\":\"Db.DeleteTable\""));
}

TEST(OperationFields, AreAskedOfTheOriginInHybridUnlessOnTape) {
  RigOptions options;
  options.mode = Mode::Hybrid;
  WorkerRig rig(std::move(options));
  std::atomic<int> served{0};
  ScriptedOrigin origin(http_origin([&](const std::string& request) {
    ++served;
    return operation_in(request);
  }));
  rig.go_to(origin.endpoint());
  for (const char* operation : {"Scan", "DeleteTable", "Scan"}) {
    EXPECT_EQ(rig.ask(call(operation)), with_length("Db." + std::string(operation)) + "<EOF>");
    EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == static_cast<uint64_t>(served); }));
  }
  EXPECT_EQ(served, 2);
}

}  // namespace
}  // namespace tapdeck::server
