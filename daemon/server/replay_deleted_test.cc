// Replay while recordings are deleted under it.
#include <gmock/gmock.h>

#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

using testing::AnyOf;

const std::string kGet = "GET /a HTTP/1.1\r\nHost: api.test\r\n\r\n";

// Whether a deletion comes between the look-up and the read of what that found is chance, but not in hundreds of them,
// each of the recording whose turn it is.
TEST(ReplayDeleted, TheNextOneAnswersInPlaceOfWhatIsDeletedWhileItIsLookedFor) {
  constexpr size_t kRecordings = 400;
  RigOptions options;
  options.config.routes.emplace_back().repeat = config::Repeat::Latest;
  WorkerRig rig(std::move(options));
  std::atomic<int> asked{0};
  ScriptedOrigin origin(http_origin([&](const std::string&) { return with_length(std::to_string(1000 + ++asked)); }));
  rig.go_to(origin.endpoint());
  const auto answer_on = [](Wire& wire) {
    const std::string head = wire.read_until("\r\n\r\n");
    return head.starts_with("HTTP/1.1 200 ") ? wire.read_n(4) : head;
  };
  Wire recorded = rig.connect();
  for (size_t i = 0; i < kRecordings; ++i) {
    ASSERT_TRUE(recorded.write(kGet));
    ASSERT_EQ(answer_on(recorded), std::to_string(1001 + i));
  }
  ASSERT_TRUE(eventually([&] { return rig.store->stored_recordings() == kRecordings; }));
  origin.stop();
  rig.set_mode(Mode::Replay);
  const auto page = tls::testing::must(rig.store->list_recordings({}, kRecordings));
  ASSERT_EQ(page.items.size(), kRecordings);
  Wire replayed = rig.connect();
  for (size_t left = kRecordings; left > 1; --left) {
    ASSERT_TRUE(replayed.write(kGet));
    ASSERT_TRUE(rig.store->delete_recording(page.items[left - 1].id));
    ASSERT_THAT(answer_on(replayed), AnyOf(std::to_string(1000 + left), std::to_string(999 + left)));
  }
  EXPECT_EQ(rig.count(Counter::StoreErrorRead), 0U);
}

}  // namespace
}  // namespace tapdeck::server
