// Taking back the space of what was removed: RocksDB is told to write out and compact, a step at a time and never
// waited for, so that this may be done between two batches of the writer.
#include <rocksdb/experimental.h>

#include <algorithm>
#include <chrono>
#include <ranges>
#include <thread>

#include "store/owed_space.h"
#include "store/store_impl.h"

namespace tapdeck::store {
namespace {

constexpr int64_t kMostTillRoundUs = 10'000'000;  // that a deletion waits for a quiet second
// A removed row goes down a level each time, and meets what it removes in the last.
constexpr int kLevels = 2;
constexpr int kMostTicks = 3600;  // that a step of a round waits for the one before: an hour, for what never ends
// What a store that is closed, or a command that deletes, waits at most; the next owner does the rest.
constexpr std::chrono::seconds kToSettle{2};
constexpr std::chrono::milliseconds kSettlingTick{5};
// The work for what is removed is within so many times of it.
constexpr uint64_t kWorthOf = 8;

// Where else something of a deleted recording is: names, addresses, what was known of it when it began.
constexpr Family kDeletedFrom[] = {Family::Sessions, Family::Origins, Family::Partial};

}  // namespace

bool owes_space(const ExchangeStore& store) {
  return ExchangeStore::Impl::of(store).owes_space;
}

void ExchangeStore::Impl::owe_space(int64_t now_unix_us) {
  if (!deleted_us) deleted_us = now_unix_us;
  owes_space = true;
  next_tending_us = 0;
}

// Retention removes all the time: it waits until there is something to win. Who deletes something wants it gone.
bool ExchangeStore::Impl::is_round_due(bool is_idle, int64_t now_unix_us) const {
  if (deleted_us && (is_idle || now_unix_us < *deleted_us || now_unix_us - *deleted_us >= kMostTillRoundUs))
    return true;
  if (removed_bytes == 0) return false;
  if (buffers.is_bounded) return is_idle || removed_bytes >= buffers.log;
  const bool is_much = removed_bytes >= buffers.log || (is_idle && removed_bytes >= self.stored_bytes() / kWorthOf);
  return is_much && is_worth_compacting();
}

// Digests are spread over all tables of bodies, so that compacting them writes all of them anew, but not blob files.
bool ExchangeStore::Impl::is_worth_compacting() const {
  if (buffers.is_bounded) return true;
  uint64_t tables = 0;
  for (const Family family : kRemovedFrom) {
    uint64_t bytes = 0;
    if (db->GetIntProperty(cf(family), rocksdb::DB::Properties::kLiveSstFilesSize, &bytes)) tables += bytes;
  }
  return tables <= kMovedGladly || removed_bytes >= tables / kWorthOf;
}

bool ExchangeStore::Impl::is_compacting() const {
  using Properties = rocksdb::DB::Properties;
  uint64_t busy = 0;
  const auto has = [&](rocksdb::ColumnFamilyHandle* family, const std::string& property) {
    return db->GetIntProperty(family, property, &busy) && busy > 0;
  };
  const auto is_busy = [&] {
    const bool is_pending = std::ranges::any_of(all_handles, [&](rocksdb::ColumnFamilyHandle* family) {
      return has(family, Properties::kMemTableFlushPending) || has(family, Properties::kCompactionPending);
    });
    return is_pending || has(all_handles.front(), Properties::kNumRunningFlushes) ||
           has(all_handles.front(), Properties::kNumRunningCompactions);
  };
  // What is pending runs next, and what ran may leave something pending: in between, either look may miss it.
  return is_busy() || is_busy();
}

// Written out, what was deleted is in no log any more, nor is the deletion in memory alone.
void ExchangeStore::Impl::begin_round() {
  round.is_for_deletion = round.is_for_deletion || deleted_us;
  round.waited = 0;
  round.are_logs_gone = false;
  deleted_us.reset();
  if (is_worth_compacting()) {
    round.levels_to_go = kLevels;
    removed_bytes = 0;
  }
  rocksdb::FlushOptions flush;
  flush.wait = false;
  flush.allow_write_stall = true;
  db->Flush(flush, all_handles).PermitUncheckedError();  // a failure is met by tend_space()
}

// RocksDB leaves alone what it is told of while it has the first level only. The anchor, which has a table of its own
// then, is moved a level down for that, once in a store's life.
void ExchangeStore::Impl::suggest_compaction(Family family) {
  const auto has_files = [&](int level) {
    std::string files;
    const std::string property = rocksdb::DB::Properties::kNumFilesAtLevelPrefix + std::to_string(level);
    return db->GetProperty(cf(family), property, &files) && files != "0";
  };
  const auto levels = std::views::iota(1, db->NumberLevels(cf(family)));
  if (std::ranges::none_of(levels, has_files)) {
    rocksdb::CompactRangeOptions beside;
    beside.exclusive_manual_compaction = false;
    const rocksdb::Slice anchor(kAnchor);
    db->CompactRange(beside, cf(family), &anchor, &anchor).PermitUncheckedError();
  }
  rocksdb::experimental::SuggestCompactRange(db.get(), cf(family), nullptr, nullptr).PermitUncheckedError();
}

void ExchangeStore::Impl::go_on_with_round() {
  if (round.levels_to_go == 0 && !round.is_for_deletion) return;
  const bool waits = round.is_for_deletion || !buffers.is_bounded;  // at a bound the next round comes soon
  if (waits && is_compacting() && ++round.waited < kMostTicks) return;
  round.waited = 0;
  const auto suggest = [this](Family family) { suggest_compaction(family); };
  if (round.levels_to_go > 0) {
    --round.levels_to_go;
    std::ranges::for_each(kRemovedFrom, suggest);
    if (round.is_for_deletion) std::ranges::for_each(kDeletedFrom, suggest);
    return;
  }
  if (!round.are_logs_gone) return let_go_of_logs();
  uint64_t failures = 0;
  const bool has_count = db->GetIntProperty(rocksdb::DB::Properties::kBackgroundErrors, &failures);
  if (has_count && failures != background_failures) return;  // until tend_space() has got it going
  const uint64_t room = room_at(db_path);
  if (blob_collection.collect_all(*db, *cf(Family::Blobs), room - std::min(room, buffers.reserve))) end_round();
}

// Families that were written out at the same time may each have kept the logs for the other: one more, alone, does not.
void ExchangeStore::Impl::let_go_of_logs() {
  round.are_logs_gone = true;
  rocksdb::WriteBatch batch;
  batch.Put(cf(Family::Meta), kDeleted, {}).PermitUncheckedError();
  ignore(commit(batch, Durability::Wal, Purpose::Remove), "it merely has to be written out");
  if (db == nullptr) return;
  rocksdb::FlushOptions flush;
  flush.wait = false;
  flush.allow_write_stall = true;
  db->Flush(flush, cf(Family::Meta)).PermitUncheckedError();
}

void ExchangeStore::Impl::end_round() {
  // A file that was in use to the end of the job that replaced it waits for another job; this looks for such files.
  if (db->DisableFileDeletions().ok()) db->EnableFileDeletions(false).PermitUncheckedError();
  round.is_for_deletion = false;
  if (deleted_us) return;  // and the next begins
  rocksdb::WriteBatch batch;
  batch.Delete(cf(Family::Meta), kDeleted).PermitUncheckedError();
  ignore(commit(batch, Durability::Wal, Purpose::Remove), "at worst the next owner looks for it in vain");
}

// What was deleted a moment ago, by a command that has nothing else to do, or from a daemon that is being stopped.
void ExchangeStore::Impl::settle() {
  const std::lock_guard guard(write_mutex);
  if (access != Access::ReadWrite || db == nullptr || degraded || broken || recovers) return;
  drop_cursor();
  const auto end = std::chrono::steady_clock::now() + kToSettle;
  while ((deleted_us || round.is_for_deletion) && !broken && std::chrono::steady_clock::now() < end) {
    if (deleted_us) {
      begin_round();
    } else if (!is_compacting()) {
      go_on_with_round();
    }
    std::this_thread::sleep_for(kSettlingTick);
  }
}

}  // namespace tapdeck::store
