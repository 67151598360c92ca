// Writing: many recordings in one atomic batch, and getting going again after the disk refused.
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "daemon/base/descriptors.h"
#include "daemon/base/log.h"
#include "store/store_impl.h"

namespace tapdeck::store {
namespace {

// Known origins kept in memory, so that their row is written when it changes and not for every exchange.
constexpr size_t kKnownOrigins = 10000;
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

namespace {

// One batch in the making; puts are cheap appends to one string.
class BatchBuilder {
 public:
  BatchBuilder(ExchangeStore::Impl& impl, rocksdb::WriteBatch& batch) : impl_(impl), batch_(batch) {}

  void add(PendingWrite& write);
  // Session rows and totals, after the last add().
  void finish();
  // Once the batch is written.
  void publish();
  void release_dropped();

 private:
  void put(Family family, std::string_view key, std::string_view value) {
    batch_.Put(impl_.cf(family), slice(key), slice(value)).PermitUncheckedError();
  }
  [[nodiscard]] SessionRow* row(uint32_t number);
  [[nodiscard]] KeyFilter* filter(uint32_t number);
  [[nodiscard]] bool is_stored(const Digest& digest);
  void put_blob(const PendingWrite::Blob& blob);
  [[nodiscard]] bool is_known_origin(const PendingWrite& write, const std::string& session) const;
  void put_origin(const PendingWrite& write);
  void put_facts(const std::string& row, const OriginFacts& facts);
  void drop(const PendingWrite& write);

  ExchangeStore::Impl& impl_;
  rocksdb::WriteBatch& batch_;
  std::map<uint32_t, std::optional<SessionRow>> rows_;
  std::optional<uint32_t> filter_session_;
  std::shared_ptr<KeyFilter> filter_;  // of that session
  std::string key_;                    // of the row in the making
  std::vector<const PendingWrite*> dropped_;
  uint64_t new_blob_bytes_ = 0;
};

SessionRow* BatchBuilder::row(uint32_t number) {
  auto [place, is_new] = rows_.try_emplace(number);
  if (is_new) {
    const std::lock_guard table(impl_.table_mutex);
    if (const auto known = impl_.sessions.find(number); known != impl_.sessions.end()) place->second = known->second;
  }
  return place->second ? &*place->second : nullptr;
}

KeyFilter* BatchBuilder::filter(uint32_t number) {
  if (filter_session_ != number) {
    filter_session_ = number;
    filter_ = impl_.filter_of(number);
  }
  return filter_.get();
}

bool BatchBuilder::is_stored(const Digest& digest) {
  if (impl_.recent.contains(digest)) return true;
  std::string value;
  bool found = false;
  if (!impl_.db->KeyMayExist(rocksdb::ReadOptions(), impl_.cf(Family::Blobs), slice(view(digest)), &value, &found))
    return false;
  if (found) return true;
  rocksdb::PinnableSlice pinned;
  return impl_.db->Get(rocksdb::ReadOptions(), impl_.cf(Family::Blobs), slice(view(digest)), &pinned).ok();
}

void BatchBuilder::put_blob(const PendingWrite::Blob& blob) {
  if (!is_stored(blob.segment.digest)) {
    put(Family::Blobs, view(blob.segment.digest), *blob.bytes);
    new_blob_bytes_ += blob.bytes->size();
  }
  impl_.recent.add(blob.segment.digest);
}

bool BatchBuilder::is_known_origin(const PendingWrite& write, const std::string& session) const {
  const auto here = impl_.read(Family::Origins, origin_row(write.session_number, write.port, write.host));
  if (here && *here) return true;
  if (impl_.older == nullptr) return false;
  const auto there = impl_.older->origin_facts(session, write.host, write.port);
  return there && *there;
}

void BatchBuilder::put_origin(const PendingWrite& write) {
  if (write.origin == OriginFacts{} && !write.alpn) return;
  if (impl_.last_origin.is(write)) return;
  impl_.last_origin.set(write);
  const std::string row = origin_row(write.session_number, write.port, write.host);
  if (write.origin != OriginFacts{}) put_facts(row, write.origin);
  if (!write.alpn) return;
  const std::string beside = alpn_row(row, write.alpn->offered);
  if (!write.alpn->is_learned) {
    const auto learned = impl_.read(Family::Origins, beside);
    if (learned && *learned) return;
  }
  OriginFacts seen = write.origin;
  seen.alpn = write.alpn->agreed;
  put_facts(beside, seen);
}

void BatchBuilder::put_facts(const std::string& row, const OriginFacts& facts) {
  const auto known = impl_.origins.find(row);
  if (known != impl_.origins.end() && known->second == facts) return;
  if (impl_.origins.size() >= kKnownOrigins) impl_.forget_origins();
  impl_.origins.insert_or_assign(row, facts);
  std::string value;
  encode_origin(facts, value);
  put(Family::Origins, row, value);
}

// Its session was deleted meanwhile, or it is given up: what a Begin left goes too. Its blobs go once this batch is
// written, which may hold them.
void BatchBuilder::drop(const PendingWrite& write) {
  if (!write.was_begun) return;
  batch_.DeleteRange(impl_.cf(Family::Partial), partial_row(write.id), partial_row(write.id + 1))
      .PermitUncheckedError();
  if (!write.references.empty()) dropped_.push_back(&write);
}

void BatchBuilder::release_dropped() {
  for (const PendingWrite* write : dropped_) {
    ExchangeStore::Impl::Removal removal;
    removal.ids.insert(write->id);
    for (const auto& digest : write->references) impl_.release_blob(removal, digest, write->id);
    ignore(impl_.commit_removal(removal), "at worst a blob stays that nobody needs; the write itself decides");
  }
}

void BatchBuilder::add(PendingWrite& write) {
  SessionRow* session = row(write.session_number);
  write.dropped = session == nullptr && write.step == PendingWrite::Step::Finish;
  if (session == nullptr) return drop(write);
  for (const auto& blob : write.blobs) put_blob(blob);
  std::string value;
  switch (write.step) {
    case PendingWrite::Step::Begin: {
      ByteWriter(value).u32(write.session_number);
      value += write.encoded;
      put(Family::Partial, partial_row(write.id), value);
      return;
    }
    case PendingWrite::Step::Segment: {
      for (const auto& blob : write.blobs) {
        put(Family::BlobRefs, reference_row(blob.segment.digest, write.id), {});
        value.clear();
        ByteWriter writer(value);
        writer.byte(write.request_side ? 1 : 0);
        writer.bytes(blob.segment.digest);
        writer.varint(blob.segment.size);
        put(Family::Partial, partial_part(write.id, write.part), value);
      }
      return;
    }
    case PendingWrite::Step::Journal: {
      ByteWriter(value).byte(kJournalPart);
      value += write.encoded;
      put(Family::Partial, partial_part(write.id, write.part), value);
      return;
    }
    case PendingWrite::Step::Abandon:
      for (const auto& digest : write.references) {
        batch_.Delete(impl_.cf(Family::BlobRefs), slice(reference_row(digest, write.id))).PermitUncheckedError();
      }
      return drop(write);
    case PendingWrite::Step::Origin:
      if (write.alpn->is_learned || !is_known_origin(write, session->name)) put_origin(write);
      return;
    case PendingWrite::Step::Finish:
      break;
  }
  for (const auto& digest : write.references) {
    make_reference_row(key_, digest, write.id);
    put(Family::BlobRefs, key_, {});
  }
  make_recording_key(key_, write.session_number, write.id);
  put(Family::Recordings, key_, write.encoded);
  // Before the row can be seen: what is in the store is in the filter, never the other way round.
  if (KeyFilter* known = filter(write.session_number)) known->add(write.key);
  make_match_row(key_, write.session_number, write.key, write.take, write.id);
  const char rank = static_cast<char>(write.rank);
  put(Family::Match, key_, {&rank, 1});
  put_origin(write);
  if (write.was_begun)
    batch_.DeleteRange(impl_.cf(Family::Partial), partial_row(write.id), partial_row(write.id + 1))
        .PermitUncheckedError();
  ++session->recordings;
  session->bytes += write.encoded.size() + write.body_bytes;
  session->record_bytes += write.encoded.size();
  session->last_recorded_unix_us = std::max(session->last_recorded_unix_us, write.started_unix_us);
  session->first_id = std::min(session->first_id, write.id);
}

void BatchBuilder::finish() {
  std::string value;
  for (const auto& [number, row] : rows_) {
    if (!row) continue;
    value.clear();
    encode_session(*row, value);
    put(Family::Sessions, session_prefix(number), value);
  }
  if (new_blob_bytes_ == 0) return;
  value.clear();
  ByteWriter(value).u64(impl_.blob_bytes + new_blob_bytes_);
  put(Family::Meta, "blob_bytes", value);
}

void BatchBuilder::publish() {
  impl_.blob_bytes += new_blob_bytes_;
  const std::lock_guard table(impl_.table_mutex);
  for (auto& [number, row] : rows_) {
    if (row) impl_.sessions[number] = std::move(*row);
  }
}

}  // namespace

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
