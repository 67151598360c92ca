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

// A round for a deletion is put off while recordings are written, but no longer than this.
constexpr int64_t kMostTillRoundUs = 10'000'000;
// A compaction moves the mark that a deleted row leaves one level down; in the last level the row itself goes.
constexpr int kLevels = 2;
// A round takes its next step when RocksDB is done with the last one, or after so many ticks, an hour: a job may hang.
constexpr int kMostTicks = 3600;
// settle() works for so long at most; the next process that opens the store does the rest.
constexpr std::chrono::seconds kToSettle{2};
constexpr std::chrono::milliseconds kSettlingTick{5};
// Tables are rewritten if they are at most so many times as large as what was removed.
constexpr uint64_t kWorthOf = 8;

// Families beside kRemovedFrom that may hold something of a deleted recording: the name of its session, the addresses
// of its origin, and what was written of it while it was under way.
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

// A user who deletes something wants it gone from the disk: that begins a round soon. Retention removes recordings all
// the time: for what it removed a round begins only when it wins enough space.
bool ExchangeStore::Impl::is_round_due(bool is_idle, int64_t now_unix_us) const {
  if (deleted_us && (is_idle || now_unix_us < *deleted_us || now_unix_us - *deleted_us >= kMostTillRoundUs))
    return true;
  if (removed_bytes == 0) return false;
  if (buffers.is_bounded) return is_idle || removed_bytes >= buffers.log;
  const bool is_much = removed_bytes >= buffers.log || (is_idle && removed_bytes >= self.stored_bytes() / kWorthOf);
  return is_much && is_worth_compacting();
}

// The keys of bodies are digests, so that the removed ones are spread over all tables of their family: compacting
// rewrites all of these. It leaves the blob files, which hold the bodies themselves, as they are.
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
  // One look may miss a job that begins to run, or ends and makes another pending, between its two questions.
  return is_busy() || is_busy();
}

// Flushes all families, so that their marks of deleted rows are in tables, which compactions need, and RocksDB can
// remove the logs, in which the deleted rows still are.
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

// RocksDB ignores the suggestion for a family whose tables are all in the first level. One table, which holds the
// anchor alone, is therefore compacted into the next level before, once in a store's life.
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

// begin_round() flushes all families at the same time, and each may keep the logs because another is not flushed yet. A
// flush of one family alone, behind them, lets RocksDB remove these logs.
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
  // RocksDB keeps a file that a job still read when it was replaced, until some other job ends. Switching deletions off
  // and on makes it look for such files now.
  if (db->DisableFileDeletions().ok()) db->EnableFileDeletions(false).PermitUncheckedError();
  round.is_for_deletion = false;
  if (deleted_us) return;  // something was deleted meanwhile: the row stays for the next round
  rocksdb::WriteBatch batch;
  batch.Delete(cf(Family::Meta), kDeleted).PermitUncheckedError();
  ignore(commit(batch, Durability::Wal, Purpose::Remove), "at worst the next owner looks for it in vain");
}

// Runs the round of what a user has just deleted to its end, as far as kToSettle lets it: at the end of a command,
// which has nothing else to do, or of a daemon.
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
