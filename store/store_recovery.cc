// Opening for reading; and what opening for writing puts in order: tables in memory, recordings of a crashed process,
// interrupted deletions, and stores left by recording processes beside this one.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <thread>

#include "daemon/base/log.h"
#include "store/journal.h"
#include "store/record_codec.h"
#include "store/store_impl.h"
#include "store/withdrawals.h"

namespace tapdeck::store {

Result<void> ExchangeStore::Impl::need_writable() const {
  if (access == Access::ReadWrite) return {};
  return fail(Code::Permission, "store " + options.path + " is open for reading only", Origin::Store);
}

Result<void> ExchangeStore::Impl::need_open() const {
  if (db != nullptr) return {};
  return fail(Code::Io, "store " + options.path + " is closed after a disk error; it opens again when that is over",
              Origin::Store);
}

std::unique_ptr<rocksdb::Iterator> ExchangeStore::Impl::iterate(Family family, Cached cached,
                                                                const rocksdb::Snapshot* snapshot) const {
  rocksdb::ReadOptions read_options;
  read_options.fill_cache = cached == Cached::Yes;
  read_options.total_order_seek = true;
  read_options.snapshot = snapshot;
  return open_iterators.track(std::unique_ptr<rocksdb::Iterator>(db->NewIterator(read_options, cf(family))));
}

Result<std::optional<std::string>> ExchangeStore::Impl::read(Family family, std::string_view key,
                                                             const rocksdb::Snapshot* snapshot) const {
  TRY_VOID(need_open());
  count_nothing();
  rocksdb::ReadOptions read_options;
  read_options.fill_cache = family != Family::Recordings || keeps_blocks;
  read_options.snapshot = snapshot;
  std::string value;
  const rocksdb::Status status = db->Get(read_options, cf(family), slice(key), &value);
  if (status.IsNotFound()) return std::optional<std::string>{};
  if (!status.ok()) return fail_status(status, std::string("read ") + name_of(family));
  return std::optional(std::move(value));
}

void ExchangeStore::Impl::weigh() {
  constexpr uint64_t kMatchRowBytes = 64;
  uint64_t bytes = 0;
  for (const auto& [number, row] : sessions) bytes += row.record_bytes + row.recordings * kMatchRowBytes;
  keeps_blocks.store(bytes <= options.cache_bytes, std::memory_order_relaxed);
}

Result<void> ExchangeStore::Impl::load_tables() {
  const std::lock_guard table(table_mutex);
  sessions.clear();
  active.clear();
  uint64_t last_id = 0;
  auto rows = iterate(Family::Sessions);
  for (rows->SeekToFirst(); rows->Valid() && rows->key() != slice(kAnchor); rows->Next()) {
    const uint32_t number = ByteReader(rows->key().ToStringView()).u32();
    TRY(row, decode_session(rows->value().ToStringView()));
    next_session = std::max(next_session, number + 1);
    auto last = iterate(Family::Recordings);
    last->SeekForPrev(recording_key(number, ~0ull));
    if (last->Valid() && last->key().starts_with(session_prefix(number)))
      last_id = std::max(last_id, id_of_row(last->key().ToStringView()));
    sessions.emplace(number, std::move(row));
  }
  if (!rows->status().ok()) return fail_status(rows->status(), "read sessions of " + options.path);
  weigh();
  auto begun = iterate(Family::Partial);
  begun->SeekForPrev(std::string(8, static_cast<char>(0xff)));  // below the anchor
  has_partials = begun->Valid();
  if (begun->Valid()) last_id = std::max(last_id, ByteReader(begun->key().ToStringView()).u64());
  auto meta = iterate(Family::Meta);
  for (meta->Seek("active/"); meta->Valid() && meta->key().starts_with("active/"); meta->Next())
    active[meta->key().ToString().substr(7)] = meta->value().ToString();
  TRY(bytes, read(Family::Meta, "blob_bytes"));
  if (bytes) blob_bytes = ByteReader(*bytes).u64();
  TRY(given, read(Family::Meta, "last_id"));
  if (given) last_id = std::max(last_id, ByteReader(*given).u64());
  self.next_id_.store(last_id + 1, std::memory_order_relaxed);
  return {};
}

uint64_t ExchangeStore::recovered() const {
  return impl_->recovered;
}

Result<void> ExchangeStore::Impl::recover_partials() {
  std::vector<std::pair<uint64_t, std::string>> begun;
  auto rows = iterate(Family::Partial);
  for (rows->SeekToFirst(); rows->Valid() && rows->key() != slice(kAnchor); rows->Next()) {
    ByteReader key(rows->key().ToStringView());
    const uint64_t id = key.u64();
    if (key.byte() == 0) begun.emplace_back(id, rows->value().ToString());
  }
  if (!rows->status().ok()) return fail_status(rows->status(), "read unfinished recordings of " + options.path);
  rows.reset();
  for (const auto& [id, value] : begun) TRY_VOID(recover_partial(id, value));
  recovered += begun.size();
  return {};
}

// A reader that finds unfinished recordings nobody works on any more would not see them until somebody records again.
// Not being able to is no error: the rest can be read.
Result<void> ExchangeStore::Impl::recover_for_reader() {
  struct stat directory{};
  // Files that root makes in the store of a user would keep that user out.
  if (::stat(options.path.c_str(), &directory) != 0 || directory.st_uid != ::geteuid()) return {};
  StoreOptions as_owner = options;
  as_owner.admin_socket.clear();
  bool has_lock = false;
  {
    ExchangeStore writer;
    writer.impl_ = std::make_unique<Impl>(writer, std::move(as_owner), Access::ReadWrite);
    writer.impl_->recovers = true;
    ignore(writer.impl_->open(), "whoever records next tries again, and says what is wrong");
    has_lock = static_cast<bool>(writer.impl_->lock);
    writer.impl_->close_db();  // who waits for us reads "recovers" until nothing of ours is open
    if (has_lock) ::unlink((options.path + "/owner").c_str());
  }
  return has_lock ? reopen() : Result<void>{};
}

// A begun recording becomes an Incomplete one that holds the body segments and journal entries which reached the log.
Result<void> ExchangeStore::Impl::recover_partial(uint64_t id, std::string_view begun) {
  ByteReader reader(begun);
  const uint32_t session = reader.u32();
  TRY(recording, decode_record(reader.rest()));
  auto rows = iterate(Family::Partial);
  const std::string prefix = partial_row(id).substr(0, 8);
  JournalMerge journal;
  for (rows->Seek(partial_part(id, 0)); rows->Valid() && rows->key().starts_with(prefix); rows->Next()) {
    ByteReader part(rows->value().ToStringView());
    const uint8_t kind = part.byte();
    if (kind == kJournalPart) {
      TRY(entry, decode_journal(part.rest()));
      journal.add(std::move(entry));
      continue;
    }
    BodyRef& body = kind != 0 ? recording.request_body : recording.response_body;
    Segment segment;
    segment.digest = part.bytes<32>();
    segment.size = part.varint();
    if (!part.ok()) return fail(Code::Corrupt, "unfinished recording does not decode", Origin::Store);
    body.segments.push_back(segment);
    body.size += segment.size;
  }
  std::vector<PendingWrite::Blob> blobs;
  for (const BodySide side : {BodySide::Request, BodySide::Response}) {
    BodyRef& body = side == BodySide::Request ? recording.request_body : recording.response_body;
    std::string tail = journal.tail(side, body.size);
    if (tail.empty()) continue;
    HashedBody last = hashed(std::move(tail));
    const Segment segment{last.digest, last.bytes->size()};
    body.segments.push_back(segment);
    body.size += segment.size;
    blobs.push_back({segment, std::move(last.bytes)});
  }
  recording.messages = journal.messages(recording.request_body.size, recording.response_body.size);
  recording.outcome = {Outcome::Kind::Incomplete, recording.response_body.size, "crash"};
  recording.version = kRecordVersion;
  PendingWrite write = finish_of(recording, session, id);
  write.was_begun = true;
  write.blobs = std::move(blobs);
  write.host = recording.host;
  write.port = recording.port;
  encode_record(recording, write.encoded);
  std::vector<PendingWrite> writes;
  writes.push_back(std::move(write));
  const std::lock_guard guard(write_mutex);
  return write_locked(writes, Durability::Wal, {});
}

Result<void> ExchangeStore::Impl::finish_deletions() {
  std::vector<uint32_t> hidden;
  {
    const std::lock_guard table(table_mutex);
    for (const auto& [number, row] : sessions) {
      if (row.hidden) hidden.push_back(number);
    }
  }
  for (const uint32_t number : hidden) TRY_VOID(erase_session_rows(number));
  return {};
}

// Of a process that was killed before it came to them.
Result<void> ExchangeStore::Impl::finish_withdrawals(const std::vector<uint64_t>& left) {
  if (left.empty()) return {};
  TRY_VOID(self.withdraw(left));
  Withdrawals::forget(options.path);
  return {};
}

// Best effort: a store whose process lives is Busy, and one that cannot be read stays where it is for a later try.
void ExchangeStore::Impl::merge_leftovers() {
  std::error_code error;
  std::vector<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator(options.path + "/pending", error))
    found.push_back(entry.path().string());
  std::ranges::sort(found);
  for (const auto& directory : found) {
    if (unmergeable.contains(directory)) continue;
    const auto merged = self.merge_pending(directory);  // else it stays in pending/, and says why when asked
    // Busy while its process lives; a full disk may be emptied.
    const bool may_succeed = merged || merged.error().code == Code::Busy || merged.error().code == Code::NoSpace;
    if (may_succeed) continue;
    unmergeable.insert(directory);
    log::warn("store.pending", "recordings made beside this process stay where they are",
              {{"directory", directory}, {"error", merged.error().message()}});
  }
}

void ExchangeStore::merge_left() const {
  impl_->merge_leftovers();
}

namespace {

// The first owner of a new store makes its column families one after another.
bool is_being_made(const rocksdb::Status& status) {
  return status.IsInvalidArgument() && status.ToString().contains("Column family not found");
}

constexpr int kAttempts = 5;
constexpr int kAttemptsWhileMade = 100;
constexpr std::chrono::milliseconds kPauseWhileMade{10};

}  // namespace

Result<void> ExchangeStore::Impl::open_for_reading() {
  // The owner may compact a file away between our listing and opening it; a new listing no longer names it.
  rocksdb::Status status = try_open(access);
  for (int attempt = 1; !status.ok() && attempt < kAttempts; ++attempt) status = try_open(access);
  for (int attempt = 0; is_being_made(status) && attempt < kAttemptsWhileMade; ++attempt) {
    std::this_thread::sleep_for(kPauseWhileMade);
    status = try_open(access);
  }
  if (status.ok()) return {};
  if (is_being_made(status)) return fail(Code::NotFound, "nothing is recorded in " + options.path, Origin::Store);
  if (status.IsCorruption() && try_open(access, DamagedLog::UpTo).ok()) {
    log::warn("store.log_damaged", "the store's log is damaged; what was recorded behind the damage is not seen",
              {{"store", options.path}, {"damage", status.ToString()}});
    return {};
  }
  auto failed = fail_status(status, "open store " + options.path + " for reading");
  if (status.IsCorruption()) failed.error().detail += "; a recording run or the daemon repairs what can be repaired";
  return failed;
}

}  // namespace tapdeck::store
