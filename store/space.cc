// Disk space beside what is stored: taken back from what was removed, and won when the disk is full.
#include <utility>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "store/store_impl.h"

namespace tapdeck::store {
namespace {

constexpr int64_t kIntervalUs = 10'000'000;
constexpr int64_t kIntervalWhileOwedUs = 1'000'000;  // and at a bound
constexpr int64_t kBetweenWinsUs = 10'000'000;       // compacting all of it makes whoever deletes wait

}  // namespace

// What was removed holds its space until the removal has met it in a table. RocksDB looks at tables when there are more
// of them, which may be never; so it is told. Nothing here waits for it.
void ExchangeStore::Impl::tend_space(int64_t now_unix_us) {
  if (db == nullptr) return open_again(now_unix_us);
  if (degraded) return;  // the next write gets it going
  blob_collection.tend(*db, *cf(Family::Blobs), now_unix_us);
  if (is_early(now_unix_us)) return;
  const bool is_often = buffers.is_bounded || owes_space;
  next_tending_us = now_unix_us + (is_often ? kIntervalWhileOwedUs : kIntervalUs);
  if (broken) return;
  uint64_t failures = 0;
  // Without this nothing would be written out or collected any more until a write fails, too.
  if (db->GetIntProperty(rocksdb::DB::Properties::kBackgroundErrors, &failures) && failures != background_failures) {
    if (!get_going(Purpose::Add)) {
      broken = true;
      return;
    }
    if (!db->GetIntProperty(rocksdb::DB::Properties::kBackgroundErrors, &background_failures)) background_failures = 0;
  }
  reserve.keep();
  const auto newest = db->GetLatestSequenceNumber();
  const bool is_idle = std::exchange(newest_tended, newest) == newest;
  if (is_round_due(is_idle, now_unix_us)) {
    begin_round();
  } else {
    go_on_with_round();
  }
  owes_space = deleted_us || round.is_for_deletion || round.levels_to_go > 0;
}

bool ExchangeStore::Impl::is_early(int64_t now_unix_us) const {
  return now_unix_us < next_tending_us && next_tending_us - now_unix_us <= kIntervalUs;
}

// Where nothing is recorded nobody else would, and nothing could be replayed either.
void ExchangeStore::Impl::open_again(int64_t now_unix_us) {
  if (is_early(now_unix_us)) return;
  next_tending_us = now_unix_us + kIntervalWhileOwedUs;
  ignore(get_going(Purpose::Add), "tried again in a second");
}

bool ExchangeStore::Impl::is_short_of_space() const {
  return room_at(db_path) < buffers.reserve;
}

// For whoever has just deleted something to get space. Not under write: others go on recording.
void ExchangeStore::Impl::win_space() {
  if (!is_short_of_space()) return;
  const int64_t now = unix_now_us();
  int64_t next = next_win_us.load();
  if (now < next || !next_win_us.compare_exchange_strong(next, now + kBetweenWinsUs)) return;
  const auto guard = use();
  if (db == nullptr || degraded) return;
  db->Flush(rocksdb::FlushOptions(), all_handles).PermitUncheckedError();  // compacting says as much
  for (const Family family : kRemovedFrom) {
    const auto done = db->CompactRange(rocksdb::CompactRangeOptions(), cf(family), nullptr, nullptr);
    if (!done.ok()) {
      log::warn("store.space", "the space of what was deleted could not be taken back yet",
                {{"store", options.path}, {"problem", done.ToString()}});
      return;
    }
  }
}

// Getting going, if need be on the space that was set aside: for what leads to more of it.
Result<void> ExchangeStore::Impl::get_going(Purpose purpose) {
  auto going = resume();
  if (going || going.error().code != Code::NoSpace || !gets_reserve(purpose)) return going;
  return resume();
}

bool ExchangeStore::Impl::give_up_reserve() {
  if (!reserve.give_up()) return false;
  log::warn("store.reserve",
            "the disk is full; the space set aside for that is used, so that recordings can be removed",
            {{"store", options.path}});
  return true;
}

bool ExchangeStore::Impl::is_near_bound() const {
  return buffers.is_bounded && self.stored_bytes() + buffers.log >= options.max_bytes;
}

// What was given up for removing would be filled before anything is removed, or as soon as something is.
Result<void> ExchangeStore::Impl::leave_reserve() const {
  if (!reserve.is_owed() || !is_short_of_space() || is_near_bound()) return {};
  return fail(
      Code::NoSpace,
      "store " + options.path + " keeps what is left of the disk for removing recordings; free some space first",
      Origin::Store);
}

bool ExchangeStore::Impl::gets_reserve(Purpose purpose) {
  // Far from its bound, or without one, nothing would be removed, and it would merely be filled.
  if (purpose == Purpose::Add && !is_near_bound()) return false;
  if (!give_up_reserve()) return false;
  removed_bytes += buffers.log;  // look for garbage at once
  next_tending_us = 0;
  return true;
}

}  // namespace tapdeck::store
