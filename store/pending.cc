// Stores beside the store: written by a second recording process, merged when it is done.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#include <filesystem>

#include "store/record_codec.h"
#include "store/store_impl.h"

namespace tapdeck::store {
namespace {

namespace fs = std::filesystem;
constexpr size_t kMergeBatch = 500;
constexpr size_t kMergeBatchBytes = 8 << 20;

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
  // Imported sessions carry a secret of their own: without it keys recorded here would not match there.
  auto reader = open(main, Access::ReadOnly);
  if (!reader) {
    if (reader.error().code == Code::NotFound) return store;  // the owner has not written its first row yet
    return std::unexpected(reader.error());
  }
  for (const auto& [number, row] : (*reader)->impl_->live_sessions()) {
    if (!row.secret) continue;
    const std::lock_guard guard(store->impl_->write_mutex);
    TRY_VOID(store->impl_->create_locked(row.name, false, row.secret));
  }
  if (answers == Answers::Too) store->impl_->older = std::move(*reader);
  return store;
}

Result<void> ExchangeStore::Impl::take_over_origins(const Impl& from, uint32_t session, uint32_t as_session) {
  rocksdb::WriteBatch batch;
  const std::string prefix = session_prefix(session);
  auto rows = from.iterate(Family::Origins, false);
  for (rows->Seek(prefix); rows->Valid() && rows->key().starts_with(prefix); rows->Next()) {
    const std::string key = session_prefix(as_session) + rows->key().ToString().substr(prefix.size());
    batch.Put(cf(Family::Origins), key, rows->value()).PermitUncheckedError();
  }
  if (!rows->status().ok()) return fail_status(rows->status(), "read origins of " + from.options.path);
  const std::lock_guard guard(write_mutex);
  origins.clear();
  return commit(batch, Durability::Wal);
}

// Each take of the pending store becomes a new take here. How far it came is written with every batch, so that a merge
// cut short goes on and nothing arrives twice.
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
    if (pending->impl_->secret != impl_->secret) {
      return fail(Code::InvalidArgument, pending_directory + " was not recorded beside " + impl_->options.path,
                  Origin::Store);
    }
    for (const auto& [number, row] : pending->impl_->live_sessions()) {
      if (row.recordings == 0) continue;
      const std::string marker = progress + row.name;
      TRY(done, impl_->read(Family::Meta, marker));
      // Marker: last id copied, then (pending take, take here) of the take being copied.
      ByteReader reader(done ? std::string_view(*done) : std::string_view());
      uint64_t last = done ? reader.u64() : 0;
      uint64_t source_take = done ? reader.u64() : 0;
      Take take{row.name, 0, done ? reader.u64() : 0};
      if (done) {
        TRY(here, impl_->find_session(row.name));
        take.session_number = here.first;
      }
      auto rows = pending->impl_->iterate(Family::Recordings, false);
      rows->Seek(recording_key(number, last + 1));
      const std::string prefix = session_prefix(number);
      while (rows->Valid() && rows->key().starts_with(prefix)) {
        std::vector<PendingWrite> writes;
        size_t bytes = 0;
        while (rows->Valid() && rows->key().starts_with(prefix) && writes.size() < kMergeBatch &&
               bytes < kMergeBatchBytes) {
          TRY(recording, decode_record(rows->value().ToStringView()));
          if (take.number == 0 || recording.take != source_take) {
            if (!writes.empty()) break;  // one take a batch, as the marker says
            source_take = recording.take;
            TRY(opened, open_take(row.name, Append::No));
            take = opened;
          }
          PendingWrite write;
          write.session_number = take.session_number;
          write.take = take.number;
          write.id = allocate_id();
          write.key = recording.key;
          write.started_unix_us = recording.started_unix_us;
          write.finished = recording.outcome.kind != Outcome::Kind::Incomplete;
          for (const auto* body : {&recording.request_body, &recording.response_body}) {
            write.body_bytes += body->size;
            for (const auto& segment : body->segments) {
              write.references.push_back(segment.digest);
              TRY(blob, pending->impl_->read(Family::Blobs, view(segment.digest)));
              if (!blob) continue;  // lost there already; reading it here says so as well
              bytes += blob->size();
              write.blobs.push_back({segment, std::make_shared<const std::string>(std::move(*blob))});
            }
          }
          recording.take = take.number;
          encode_record(recording, write.encoded);
          bytes += write.encoded.size();
          last = id_of_row(rows->key().ToStringView());
          writes.push_back(std::move(write));
          rows->Next();
        }
        std::string value;
        ByteWriter writer(value);
        writer.u64(last);
        writer.u64(source_take);
        writer.u64(take.number);
        const std::lock_guard guard(impl_->write_mutex);
        TRY_VOID(impl_->write_locked(writes, Durability::Wal, [&](rocksdb::WriteBatch& batch) {
          batch.Put(impl_->cf(Family::Meta), marker, value).PermitUncheckedError();
        }));
        merged += writes.size();
      }
      if (!rows->status().ok()) return fail_status(rows->status(), "merge " + pending_directory);
      if (take.number > 0) TRY_VOID(impl_->take_over_origins(*pending->impl_, number, take.session_number));
    }
  }
  std::error_code error;
  fs::remove_all(pending_directory, error);
  if (error) return fail_errno(error.value(), "remove " + pending_directory, Origin::Store);
  const std::lock_guard guard(impl_->write_mutex);
  rocksdb::WriteBatch batch;
  batch.DeleteRange(impl_->cf(Family::Meta), progress, after_prefix(progress)).PermitUncheckedError();
  TRY_VOID(impl_->commit(batch, Durability::Wal));
  impl_->bump();
  return merged;
}

}  // namespace tapdeck::store
