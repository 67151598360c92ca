// Writing: many recordings in one atomic batch, and getting going again after the disk refused.
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "daemon/base/descriptors.h"
#include "daemon/base/log.h"
#include "store/batch_builder.h"
#include "store/store_impl.h"

namespace tapdeck::store {
namespace {

// A batch longer than this gives its memory back: twice what the writer puts into one.
constexpr size_t kKeptBatchBytes = 4 << 20;
// Opening writes a little: a MANIFEST, its options, an empty log.
constexpr uint64_t kRoomToOpen = 512 << 10;
// And opens that beside what was open before, on threads with stacks of their own.
constexpr unsigned kFilesToOpen = 16;
constexpr size_t kMemoryToOpen = 64 << 20;

bool has_no_room(const std::string& path) {
  return room_at(path) < kRoomToOpen;
}

// Of a limit's or a system's that gives no more than it has; nothing of it is touched.
bool has_memory() {
  void* probe = ::mmap(nullptr, kMemoryToOpen, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return probe != MAP_FAILED && ::munmap(probe, kMemoryToOpen) == 0;
}

}  // namespace

Result<void> ExchangeStore::check_place() const {
  if (!impl_->lock) return {};
  struct stat held{};
  struct stat named{};
  const std::string& path = impl_->options.path;
  const bool is_there = ::fstat(impl_->lock.get(), &held) == 0 && ::stat((path + "/owner.lock").c_str(), &named) == 0 &&
                        held.st_dev == named.st_dev && held.st_ino == named.st_ino;
  if (is_there && (::stat((impl_->db_path + "/CURRENT").c_str(), &named) == 0 || errno != ENOENT)) return {};
  return fail(Code::Io, "store directory " + path + " was removed or renamed while it was in use: nothing is recorded",
              Origin::Store);
}

// Whoever opens it at this moment may take long, and may fail.
Result<void> ExchangeStore::check_open() const {
  const std::shared_lock guard(impl_->handle_mutex, std::try_to_lock);
  if (guard) return impl_->need_open();
  return fail(Code::Busy, "store " + impl_->options.path + " is being opened", Origin::Store);
}

Result<void> ExchangeStore::Impl::commit(rocksdb::WriteBatch& batch, Durability durability, Purpose purpose) {
  // A batch that was made without families would go into the default one: go_on_if_closed() comes before making it.
  TRY_VOID(need_open());
  if (broken) TRY_VOID(get_going(purpose));
  rocksdb::WriteOptions write_options;
  write_options.sync = durability == Durability::Fsync;
  rocksdb::Status status = db->Write(write_options, &batch);
  if (status.ok()) return {};
  broken = true;
  // Once more: writing the memory tables out frees the log, which is often all the space that was missing.
  if (get_going(purpose)) status = db->Write(write_options, &batch);
  if (status.ok()) return {};
  if (is_full(status) && gets_reserve(purpose)) {
    broken = true;
    if (resume()) status = db->Write(write_options, &batch);
    if (status.ok()) return {};
  }
  broken = true;
  recent.clear();
  forget_origins();
  return fail_status(status, "write to store " + options.path);
}

void ExchangeStore::Impl::forget_origins() {
  origins.clear();
  last_origin.clear();
}

// RocksDB refuses writes after a failed one until told to go on. Resume() writes the memory tables out and starts a
// new log, so a torn record in the old one hides nothing that follows.
Result<void> ExchangeStore::Impl::resume() {
  if (db != nullptr && !degraded) {
    const rocksdb::Status status = db->Resume();
    if (status.ok()) {
      broken = false;
      return {};
    }
    // Reopening needs space as well and would only take the readers' tables away.
    auto failure = fail_status(status, "resume store " + options.path);
    if (failure.error().code == Code::NoSpace) return failure;
  }
  // Opening it in vain would take the tables away from those who read, again and again.
  if (degraded && has_no_room(db_path)) {
    return fail(Code::NoSpace, "store " + options.path + " is only read, for the disk is full; free some space first",
                Origin::Store);
  }
  if (db != nullptr && !has_descriptors(kFilesToOpen)) {
    return fail(Code::Io, "store " + options.path + " is only read, for no file can be opened (raise LimitNOFILE)",
                Origin::Store);
  }
  if (db != nullptr && !has_memory())
    return fail(Code::Io, "store " + options.path + " is only read, for there is no memory to open it", Origin::Store);
  const bool was_closed = db == nullptr;
  auto opened = reopen();
  if (opened) {
    broken = false;
    if (was_closed) log::warn("store.reopened", "the store is open again", {{"store", options.path}});
    return {};
  }
  if (db != nullptr) return opened;
  owes_space = true;  // tend_space() opens it
  if (!was_closed) log::error("store.closed", opened.error().message());
  return opened;
}

Result<void> ExchangeStore::Impl::go_on_if_closed(Purpose purpose) {
  return db == nullptr ? get_going(purpose) : Result<void>{};
}

Result<void> ExchangeStore::write(std::span<PendingWrite* const> writes, Durability durability) {
  TRY_VOID(impl_->need_writable());
  const std::lock_guard guard(impl_->write_mutex);
  TRY_VOID(impl_->leave_reserve());
  return impl_->write_locked(writes, durability, {});
}

Result<void> ExchangeStore::write(std::vector<PendingWrite>& writes, Durability durability) {
  TRY_VOID(impl_->need_writable());
  const std::lock_guard guard(impl_->write_mutex);
  TRY_VOID(impl_->leave_reserve());
  return impl_->write_locked(writes, durability, {});
}

Result<void> ExchangeStore::Impl::write_locked(std::vector<PendingWrite>& writes, Durability durability,
                                               const Extra& extra) {
  std::vector<PendingWrite*> pointers;
  for (auto& write : writes) pointers.push_back(&write);
  return write_locked(std::span<PendingWrite* const>(pointers), durability, extra);
}

Result<void> ExchangeStore::Impl::write_locked(std::span<PendingWrite* const> writes, Durability durability,
                                               const Extra& extra) {
  count_nothing();
  if (broken || db == nullptr) TRY_VOID(get_going(Purpose::Add));
  rocksdb::WriteBatch& batch = write_batch;
  if (batch.GetDataSize() > kKeptBatchBytes) batch = rocksdb::WriteBatch();
  batch.Clear();  // keeps its memory, which the system would have to clear for every batch
  BatchBuilder builder(*this, batch);
  for (PendingWrite* write : writes) builder.add(*write);
  builder.finish();
  if (extra) extra(batch);
  TRY_VOID(commit(batch, durability));
  builder.publish();
  builder.release_dropped();
  return {};
}

}  // namespace tapdeck::store
