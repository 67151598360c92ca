#include "daemon/app/session_walk.h"

#include <utility>

namespace tapdeck::app {
namespace {

// Recordings held in memory at a time.
constexpr size_t kPage = 500;

}  // namespace

Result<void> each_recording(const store::ExchangeStore& store, const std::string& session,
                            const std::function<void(const store::Recording&)>& see) {
  store::RecordingFilter filter;
  filter.session = session;
  std::string cursor;
  do {
    TRY(page, store.list_recordings(filter, kPage, cursor));
    for (const store::Recording& recording : page.items) see(recording);
    cursor = std::move(page.next);
  } while (!cursor.empty());
  return {};
}

bool holds_the_same(const store::SessionInfo& a, const store::SessionInfo& b) {
  return a.number == b.number && a.takes == b.takes && a.recordings == b.recordings && a.bytes == b.bytes &&
         a.last_recorded_unix_us == b.last_recorded_unix_us;
}

}  // namespace tapdeck::app
