// Stores beside the store: written by a second recording process, merged when it is done.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#include <filesystem>

#include "daemon/base/log.h"
#include "store/merge_receipt.h"
#include "store/record_codec.h"
#include "store/store_impl.h"

namespace tapdeck::store {
namespace {

namespace fs = std::filesystem;
constexpr size_t kMergeBatch = 500;
constexpr size_t kMergeBatchBytes = 8 << 20;
constexpr size_t kLongestName = 64;

Result<void> copy_secret(const std::string& from, const std::string& to) {
  std::error_code error;
  fs::copy_file(from, to, error);
  if (error) return fail_errno(error.value(), "copy " + from, Origin::Store);
  fs::permissions(to, fs::perms::owner_read | fs::perms::owner_write, error);
  if (error) return fail_errno(error.value(), "restrict " + to, Origin::Store);
  return {};
}

// A pending store is made and locked in several steps; who merges must not take one that is half made for one that was
// left. Makers share the gate until their store is locked, a merger has it alone while it opens one.
Result<UniqueFd> pass_gate(const std::string& main, int operation) {
  const std::string path = main + "/pending.gate";
  UniqueFd gate(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!gate) return fail_errno(errno, "open " + path, Origin::Store);
  while (::flock(gate.get(), operation) != 0) {
    if (errno != EINTR) return fail_errno(errno, "lock " + path, Origin::Store);
  }
  return gate;
}

Result<std::unique_ptr<ExchangeStore>> make_pending(const StoreOptions& main, const StoreOptions& options) {
  TRY(gate, pass_gate(main.path, LOCK_SH));
  std::error_code error;
  fs::create_directories(options.path, error);
  if (error) return fail_errno(error.value(), "create " + options.path, Origin::Store);
  TRY_VOID(copy_secret(main.path + "/match.secret", options.path + "/match.secret"));
  return ExchangeStore::open(options, Access::ReadWrite);
}

// Null: its maker was killed before there was a store in it.
Result<std::unique_ptr<ExchangeStore>> open_left(const StoreOptions& main, const StoreOptions& options) {
  TRY(gate, pass_gate(main.path, LOCK_EX));
  std::error_code error;
  if (!fs::exists(options.path + "/match.secret", error)) {
    fs::remove_all(options.path, error);
    return nullptr;
  }
  return ExchangeStore::open(options, Access::ReadWrite);
}

}  // namespace

Result<std::unique_ptr<ExchangeStore>> ExchangeStore::open_pending(const StoreOptions& main, Answers answers) {
  uint32_t random = 0;
  if (getrandom(&random, sizeof random, 0) != sizeof random)
    return fail_errno(errno, "read random bytes", Origin::Store);
  StoreOptions options = main;
  options.path = main.path + "/pending/" + std::to_string(::getpid()) + "-" + std::to_string(random);
  TRY(store, make_pending(main, options));
  store->impl_->merges_later = true;
  // Imported sessions carry a secret of their own: without it keys recorded here would not match there.
  auto reader = open(main, Access::ReadOnly);
  if (!reader) {
    if (reader.error().code == Code::NotFound) return store;  // the owner has not written its first row yet
    return std::unexpected(reader.error());
  }
  for (const auto& [number, row] : (*reader)->impl_->live_sessions()) {
    if (!row.secret) continue;
    const std::lock_guard guard(store->impl_->write_mutex);
    TRY_VOID(store->impl_->create_locked(row.name, Visibility::Listed, row.secret));
  }
  if (answers == Answers::Too) store->impl_->older = std::move(*reader);
  return store;
}

namespace {

// Others write in between: names may be many.
constexpr size_t kOriginsAtOnce = 1 << 20;

Result<void> take_over_some(ExchangeStore::Impl& store, rocksdb::Iterator& rows, const std::string& prefix,
                            uint32_t as_session) {
  const std::lock_guard guard(store.write_mutex);
  TRY_VOID(store.go_on_if_closed());
  rocksdb::WriteBatch batch;
  for (; rows.Valid() && rows.key().starts_with(prefix) && batch.GetDataSize() < kOriginsAtOnce; rows.Next()) {
    const std::string key = session_prefix(as_session) + rows.key().ToString().substr(prefix.size());
    batch.Put(store.cf(Family::Origins), key, rows.value()).PermitUncheckedError();
  }
  store.forget_origins();
  std::string row;
  {
    const std::lock_guard table(store.table_mutex);
    const auto known = store.sessions.find(as_session);
    if (known == store.sessions.end()) return {};  // deleted meanwhile
    encode_session(known->second, row);            // it may be new
  }
  batch.Put(store.cf(Family::Sessions), session_prefix(as_session), row).PermitUncheckedError();
  return store.commit(batch, Durability::Wal);
}

}  // namespace

// Repeatable: what was taken over before it failed stays.
Result<void> ExchangeStore::Impl::take_over_origins(const Impl& from, uint32_t session, uint32_t as_session) {
  const std::string prefix = session_prefix(session);
  auto rows = from.iterate(Family::Origins, Cached::No);
  rows->Seek(prefix);
  do {
    TRY_VOID(take_over_some(*this, *rows, prefix, as_session));
  } while (rows->Valid() && rows->key().starts_with(prefix));
  if (!rows->status().ok()) return fail_status(rows->status(), "read origins of " + from.options.path);
  return {};
}

// The session that recordings with keys of this secret can be found in: `name` itself as long as it is made of the
// same, else the first of name-2, name-3, ... that is free, or was made by an earlier merge of the kind.
Result<Take> ExchangeStore::Impl::open_merged_take(const std::string& name, const Secret& keys, Append append) {
  const std::lock_guard guard(write_mutex);
  for (int n = 1;; ++n) {
    const std::string suffix = n == 1 ? "" : "-" + std::to_string(n);
    const std::string candidate = name.substr(0, kLongestName - suffix.size()) + suffix;
    std::optional<Row> known;
    {
      const std::lock_guard table(table_mutex);
      if (const auto number = number_of(candidate)) known = Row{*number, sessions.at(*number)};
    }
    if (known && secret_of(known->second) != keys) continue;
    if (!known) {
      const bool is_own = derive("session", candidate) == keys;
      TRY(created, name_locked(candidate, Visibility::Listed, is_own ? std::nullopt : std::optional(keys)));
      known = Row{created, row_of(created)};
    }
    return take_locked(*known, append);
  }
}

namespace {

// One pending store on its way into another: each of its takes becomes one there. How far it came is written with every
// batch, so that a merge cut short goes on and nothing arrives twice.
class Merge {
 public:
  using Impl = ExchangeStore::Impl;
  Merge(Impl& to, Impl& from, std::string directory, std::string progress)
      : to_(to), from_(from), directory_(std::move(directory)), progress_(std::move(progress)) {}

  Result<void> session(uint32_t number, const SessionRow& row);
  [[nodiscard]] uint64_t merged() const { return merged_; }

 private:
  // Marker: last id copied, then (pending take, take here, session here) of the take being copied.
  Result<void> resume(const std::string& marker);
  Result<void> open_take(const SessionRow& row, Append append);
  Result<void> add(Recording& recording, std::vector<PendingWrite>& writes, size_t& bytes);
  Result<void> write(std::vector<PendingWrite>& writes, const std::string& marker);

  Impl& to_;
  Impl& from_;
  const std::string directory_, progress_;
  uint64_t last_ = 0, source_take_ = 0, merged_ = 0;
  Take take_;
};

Result<void> Merge::resume(const std::string& marker) {
  take_ = {};
  TRY(done, to_.read(Family::Meta, marker));
  ByteReader reader(done ? std::string_view(*done) : std::string_view());
  last_ = done ? reader.u64() : 0;
  source_take_ = done ? reader.u64() : 0;
  const uint64_t take = done ? reader.u64() : 0;
  const uint32_t session = done ? reader.u32() : 0;
  for (const auto& [number, row] : to_.live_sessions()) {
    if (number == session) take_ = {row.name, number, take};  // else deleted meanwhile: the rest gets another
  }
  return {};
}

Result<void> Merge::open_take(const SessionRow& row, Append append) {
  TRY(opened, to_.open_merged_take(row.name, from_.secret_of(row), append));
  take_ = std::move(opened);
  to_.bump();
  if (take_.session == row.name) return {};
  log::warn("store.merged_as",
            "a session of this name with other match secrets came while it was recorded into beside this process: the "
            "recordings are a session of their own",
            {{"session", row.name}, {"as", take_.session}});
  return {};
}

Result<void> Merge::add(Recording& recording, std::vector<PendingWrite>& writes, size_t& bytes) {
  recording.take = take_.number;
  PendingWrite write = finish_of(recording, take_.session_number, to_.self.allocate_id());
  for (const auto* body : {&recording.request_body, &recording.response_body}) {
    for (const auto& segment : body->segments) {
      TRY(blob, from_.read(Family::Blobs, view(segment.digest)));
      if (!blob) continue;  // lost there already; reading it here says so as well
      bytes += blob->size();
      write.blobs.push_back({segment, std::make_shared<const std::string>(std::move(*blob))});
    }
  }
  encode_record(recording, write.encoded);
  bytes += write.encoded.size();
  writes.push_back(std::move(write));
  return {};
}

Result<void> Merge::write(std::vector<PendingWrite>& writes, const std::string& marker) {
  std::string value;
  ByteWriter writer(value);
  writer.u64(last_);
  writer.u64(source_take_);
  writer.u64(take_.number);
  writer.u32(take_.session_number);
  const std::lock_guard guard(to_.write_mutex);
  TRY_VOID(to_.write_locked(writes, Durability::Wal, [&](rocksdb::WriteBatch& batch) {
    batch.Put(to_.cf(Family::Meta), marker, value).PermitUncheckedError();
  }));
  merged_ += writes.size();
  return {};
}

Result<void> Merge::session(uint32_t number, const SessionRow& row) {
  const std::string marker = progress_ + row.name;
  TRY_VOID(resume(marker));
  auto rows = from_.iterate(Family::Recordings, Cached::No);
  rows->Seek(recording_key(number, last_ + 1));
  const std::string prefix = session_prefix(number);
  const auto is_any_left = [&] { return rows->Valid() && rows->key().starts_with(prefix); };
  while (is_any_left()) {
    std::vector<PendingWrite> writes;
    size_t bytes = 0;
    while (is_any_left() && writes.size() < kMergeBatch && bytes < kMergeBatchBytes) {
      TRY(recording, decode_record(rows->value().ToStringView()));
      if (take_.number == 0 || recording.take != source_take_) {
        if (!writes.empty()) break;  // one take a batch, as the marker says
        source_take_ = recording.take;
        TRY(wish, from_.read(Family::Meta, "append/" + row.name));
        TRY_VOID(open_take(row, wish && source_take_ == 1 ? Append::Yes : Append::No));
      }
      TRY_VOID(add(recording, writes, bytes));
      last_ = id_of_row(rows->key().ToStringView());
      rows->Next();
    }
    TRY_VOID(write(writes, marker));
  }
  if (!rows->status().ok()) return fail_status(rows->status(), "merge " + directory_);
  if (take_.number == 0) {  // nothing was recorded, which leaves what was learnt of origins
    const auto origins = from_.iterate(Family::Origins, Cached::No);
    origins->Seek(prefix);
    if (!origins->Valid() || !origins->key().starts_with(prefix)) return {};
    source_take_ = 1;
    TRY_VOID(open_take(row, Append::Yes));
  }
  MergeReceipt::write(directory_, row.name, {take_.session, take_.number});
  return to_.take_over_origins(from_, number, take_.session_number);
}

}  // namespace

Result<uint64_t> ExchangeStore::merge_pending(const std::string& pending_directory) {
  TRY_VOID(impl_->need_writable());
  uint64_t merged = 0;
  const std::string progress = "merge/" + fs::path(pending_directory).filename().string() + "/";
  {
    StoreOptions options;
    options.path = pending_directory;
    options.cache_bytes = 8 << 20;
    TRY(pending, open_left(impl_->options, options));
    if (pending == nullptr) return 0;
    if (pending->impl_->degraded) {  // its unfinished recordings are taken over when it can be written
      return fail(Code::NoSpace, "take over what was recorded in " + pending_directory, Origin::Store);
    }
    impl_->recovered += pending->impl_->recovered;
    if (pending->impl_->secret != impl_->secret) {
      return fail(Code::InvalidArgument, pending_directory + " was not recorded beside " + impl_->options.path,
                  Origin::Store);
    }
    Merge merge(*impl_, *pending->impl_, pending_directory, progress);
    for (const auto& [number, row] : pending->impl_->live_sessions()) {
      TRY_VOID(merge.session(number, row));
    }
    merged = merge.merged();
  }
  std::error_code error;
  fs::remove_all(pending_directory, error);
  if (error) return fail_errno(error.value(), "remove " + pending_directory, Origin::Store);
  const std::lock_guard guard(impl_->write_mutex);
  TRY_VOID(impl_->go_on_if_closed());
  rocksdb::WriteBatch batch;
  batch.DeleteRange(impl_->cf(Family::Meta), progress, after_prefix(progress)).PermitUncheckedError();
  TRY_VOID(impl_->commit(batch, Durability::Wal));
  impl_->bump();
  return merged;
}

}  // namespace tapdeck::store
