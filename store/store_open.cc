// Opening: lock, secret, RocksDB with its column families, schema.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <utility>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/threads.h"
#include "daemon/base/whole_file.h"
#include "store/store_impl.h"
#include "store/store_repair.h"
#include "store/withdrawals.h"

namespace tapdeck::store {
namespace {

namespace fs = std::filesystem;

// How long an owner waits for a reader that recovers.
constexpr std::chrono::seconds kRecovery{5};

bool fill_random(Secret& out) {
  return getrandom(out.data(), out.size(), 0) == static_cast<ssize_t>(out.size());
}

Result<void> put_file(const std::string& path, std::string_view bytes, mode_t mode, Sync sync) {
  auto done = replace_file(path, bytes, mode, sync);
  if (done) return done;
  done.error().origin = Origin::Store;
  return done;
}

std::string without_hint(std::string detail) {
  if (detail.ends_with(kFreeSpace)) detail.resize(detail.size() - std::strlen(kFreeSpace));
  return detail;
}

// Each open for writing begins a log of its own and writes no tables, so that many short commands would leave as many
// logs to read again. Past so many they are written out at once, which lets them go.
constexpr size_t kManyLogs = 16;

size_t logs_in(const std::string& db_path) {
  std::error_code error;
  size_t count = 0;
  for (fs::directory_iterator it(db_path, error), end; !error && it != end; it.increment(error))
    count += it->path().extension() == ".log" ? 1 : 0;
  return count;
}

}  // namespace

ExchangeStore::ExchangeStore() = default;
ExchangeStore::~ExchangeStore() = default;

Result<std::unique_ptr<ExchangeStore>> ExchangeStore::open(StoreOptions options, Access access) {
  std::unique_ptr<ExchangeStore> store(new ExchangeStore);
  while (options.path.size() > 1 && options.path.ends_with('/')) options.path.pop_back();
  store->impl_ = std::make_unique<Impl>(*store, std::move(options), access);
  auto opened = store->impl_->open();
  if (opened) return store;
  Error& error = opened.error();
  if (error.code == Code::NoSpace) {  // what is not open does not go on by itself
    error.detail = without_hint(std::move(error.detail));
    if (!error.detail.contains("start again")) error.detail += "; free some space and start again";
  }
  return std::unexpected(std::move(error));
}

const StoreOptions& ExchangeStore::options() const {
  return impl_->options;
}
Access ExchangeStore::access() const {
  return impl_->access;
}
const Secret& ExchangeStore::redaction_secret() const {
  return impl_->redaction;
}
Result<void> ExchangeStore::refresh() {
  return impl_->access == Access::ReadOnly ? impl_->reopen() : Result<void>{};
}

StoreOwner ExchangeStore::owner_of(const std::string& path) {
  StoreOwner owner;
  std::ifstream file(path + "/owner");
  std::string word;
  while (file >> word) {
    if (word == "pid") file >> owner.pid;
    if (word == "recovers") owner.is_recovering = true;
    if (word == "socket") {
      file.get();
      std::getline(file, owner.admin_socket);
    }
  }
  return owner;
}

Result<void> ExchangeStore::Impl::open() {
  std::error_code error;
  if (access == Access::ReadWrite) {
    fs::create_directories(options.path, error);
    if (error) return fail_errno(error.value(), "create store directory " + options.path, Origin::Store);
    if (::chmod(options.path.c_str(), 0700) != 0 && errno != EPERM)
      return fail_errno(errno, "restrict store directory " + options.path, Origin::Store);
    TRY_VOID(take_lock());
  } else if (!fs::exists(db_path + "/CURRENT", error)) {
    if (lost_its_head(db_path)) {
      return fail(Code::Corrupt,
                  "store " + options.path +
                      " is damaged (CURRENT is missing); a recording run or the daemon repairs what can be repaired",
                  Origin::Store);
    }
    if (error) return fail_errno(error.value(), "open store " + options.path, Origin::Store);  // EACCES is not "empty"
    return fail(Code::NotFound, "nothing is recorded in " + options.path, Origin::Store);
  }
  // A store beside another begins with that one's secret and nothing else.
  const bool lost_all = !is_beside() && fs::exists(options.path + "/match.secret", error) &&
                        !fs::exists(db_path + "/CURRENT", error) && !lost_its_head(db_path);
  TRY_VOID(load_secret());
  auto opened = open_db();
  if (!opened && !recovers && opened.error().code == Code::NoSpace && give_up_reserve()) opened = open_db();
  if (!opened && !recovers && opened.error().code == Code::NoSpace && try_open(Access::ReadOnly).ok()) {
    log::warn("store.read_only", "the disk is full: what is recorded can be read and replayed, and nothing is added",
              {{"store", options.path}, {"problem", without_hint(opened.error().detail)}});
    degraded = broken = true;
    opened = {};
  }
  TRY_VOID(opened);
  if (lost_all) {
    log::warn("store.begun_anew", "the database of this store is gone, though not its secret: it begins empty",
              {{"store", options.path}});
  }
  TRY_VOID(mend_meta());
  TRY_VOID(check_schema());
  auto loaded = load_tables();
  if (!loaded && loaded.error().code == Code::Corrupt) return beyond_repair(loaded.error().detail, {});
  TRY_VOID(loaded);
  const std::vector<uint64_t> withdrawn = Withdrawals::left(options.path);
  // They may never have been written: nobody else is to be given their ids.
  for (const uint64_t id : withdrawn) self.next_id_ = std::max(self.next_id_.load(), id + 1);
  const bool is_unfinished = has_partials || !withdrawn.empty();
  if (access == Access::ReadOnly) return is_unfinished ? recover_for_reader() : Result<void>{};
  if (degraded) return {};  // the next open puts it in order, and the writer what was withdrawn
  TRY_VOID(recover_partials());
  TRY_VOID(finish_withdrawals(withdrawn));
  if (recovers) return {};
  TRY(deleted, read(Family::Meta, kDeleted));
  if (deleted) owe_space(unix_now_us());
  TRY_VOID(finish_deletions());
  merge_leftovers();
  reserve.keep();
  if (logs_in(db_path) > kManyLogs) {
    const rocksdb::Status flushed = db->Flush(rocksdb::FlushOptions(), all_handles);
    if (!flushed.ok()) log::warn("store.logs", "old logs stay for another open", {{"problem", flushed.ToString()}});
  }
  return {};
}

Result<void> ExchangeStore::Impl::take_lock() {
  const std::string path = options.path + "/owner.lock";
  lock = UniqueFd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock) return fail_errno(errno, "open " + path, Origin::Store);
  const auto patience = std::chrono::steady_clock::now() + kRecovery;
  while (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) {
      const int error = errno;
      lock.reset();
      return fail_errno(error, "lock " + path, Origin::Store);
    }
    const StoreOwner owner = ExchangeStore::owner_of(options.path);
    if ((owner.is_recovering || owner.pid == 0) && std::chrono::steady_clock::now() < patience) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      continue;
    }
    lock.reset();
    std::string who = owner.pid == 0 ? "another process" : "process " + std::to_string(owner.pid);
    if (!owner.admin_socket.empty()) who += " (admin socket " + owner.admin_socket + ")";
    return fail(Code::Busy, "store " + options.path + " is open for writing in " + who, Origin::Store);
  }
  // Under the lock: readers see one owner or the other, never half a file.
  std::string text = "pid " + std::to_string(::getpid()) + "\n";
  if (recovers) text += "recovers\n";
  if (!options.admin_socket.empty()) text += "socket " + options.admin_socket + "\n";
  remove_unfinished(options.path + "/owner");
  remove_unfinished(options.path + "/match.secret");
  const std::string file = options.path + "/owner";
  auto told = put_file(file, text, 0600, Sync::No);
  if (!told && told.error().code == Code::NoSpace && !recovers && give_up_reserve())
    told = put_file(file, text, 0600, Sync::No);
  if (told || told.error().code != Code::NoSpace) return told;
  // Others are told that the store is open, though not by whom.
  ::unlink(file.c_str());
  log::warn("store.owner", "the disk is full: that this process has the store open is not written down",
            {{"store", options.path}});
  return {};
}

Result<void> ExchangeStore::Impl::load_secret() {
  const std::string path = options.path + "/match.secret";
  const bool is_new = !fs::exists(path) && !fs::exists(db_path);
  if (access == Access::ReadWrite && is_new) {
    Secret fresh;
    if (!fill_random(fresh)) return fail_errno(errno, "read random bytes", Origin::Store);
    TRY_VOID(put_file(path, view(fresh), 0600, Sync::Content));
  }
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file && errno == ENOENT) {
    return fail(Code::Corrupt,
                path + " is missing, without which nothing recorded can be matched; restore it from a backup",
                Origin::Store);
  }
  if (!file) return fail_errno(errno, "open " + path, Origin::Store);
  if (::read(file.get(), secret.data(), secret.size()) != static_cast<ssize_t>(secret.size()))
    return fail(Code::Corrupt, path + " is not a match secret of 32 bytes; restore it from a backup", Origin::Store);
  redaction = derive("redaction", {});
  return {};
}

Secret ExchangeStore::Impl::derive(std::string_view label, std::string_view name) const {
  return KeyHasher(secret).of(std::string(label) + '\0' + std::string(name));
}

namespace {

// RocksDB's own at least: two for background work, one for each of the other queues, and its clock.
constexpr unsigned kRocksThreads = 4;

rocksdb::Status without_threads(const Error& error) {
  return rocksdb::Status::Aborted(error.detail);
}

// What it throws when it may not start a thread leaves it half open or ends the process, so it does not get that far.
rocksdb::Status fit_threads(rocksdb::DBOptions& options) {
  const auto openers = static_cast<unsigned>(options.max_file_opening_threads);
  if (threads_to_spare(kRocksThreads + openers) == kRocksThreads + openers) return {};
  options.max_file_opening_threads = 1;
  const auto enough = check_threads(kRocksThreads);
  return enough ? rocksdb::Status() : without_threads(enough.error());
}

// A disk that refuses is none, though it is met writing a MANIFEST, too: repairing sets the old one aside first, and
// RocksDB ends the process when it cannot write the new one.
bool is_damage(const rocksdb::Status& status) {
  const std::string text = status.ToString();
  if (status.IsCorruption() || status.IsNotFound() || status.IsInvalidArgument()) return true;
  return (text.contains("CURRENT") || text.contains("MANIFEST")) &&
         (status.IsPathNotFound() || text.contains("No such file"));
}

}  // namespace

rocksdb::Status ExchangeStore::Impl::try_open(Access mode, DamagedLog log) {
  close_db();
  std::vector<std::string> existing;
  // Fails on a new directory, which is fine, and on a broken one, which the open below reports better.
  rocksdb::DB::ListColumnFamilies(database_only_options(buffers), db_path, &existing).PermitUncheckedError();
  const auto descriptors = describe_families(existing, options.cache_bytes, buffers);
  auto db_options = database_only_options(buffers);
  if (log == DamagedLog::UpTo) db_options.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  rocksdb::Status status = fit_threads(db_options);
  if (!status.ok()) return status;
  rocksdb::DB* raw = nullptr;
  try {
    status = mode == Access::ReadOnly
                 ? rocksdb::DB::OpenForReadOnly(db_options, db_path, descriptors, &all_handles, &raw)
                 : rocksdb::DB::Open(db_options, db_path, descriptors, &all_handles, &raw);
  } catch (const std::system_error& refused) {
    return without_threads(no_thread(refused));
  }
  if (!status.ok()) return status;
  db.reset(raw);
  for (size_t i = 0; i < kFamilies; ++i) families[i] = all_handles[i];
  return status;
}

void ExchangeStore::Impl::close_db() {
  if (db == nullptr) return;
  release_views();
  open_iterators.end_all();
  drop_cursor();
  for (auto* handle : all_handles) db->DestroyColumnFamilyHandle(handle).PermitUncheckedError();
  all_handles.clear();
  families.fill(nullptr);
  db->Close().PermitUncheckedError();
  db.reset();
}

Result<void> ExchangeStore::Impl::open_db() {
  if (access == Access::ReadOnly) return open_for_reading();
  const bool headless = lost_its_head(db_path);
  rocksdb::Status status = headless ? rocksdb::Status::Corruption("CURRENT is missing") : try_open(access);
  if (status.ok()) return {};
  // Repairs are an owner's; and a full disk is no damage, though it is met writing a MANIFEST.
  if (recovers || (!headless && is_full(status))) return fail_status(status, "open store " + options.path);
  if (!headless && !is_damage(status)) return fail_status(status, "open store " + options.path);
  const std::string first = status.ToString();
  const std::string kept = keep_aside(db_path);
  if (!headless && status.IsCorruption() && try_open(access, DamagedLog::UpTo).ok()) {
    log::warn("store.log_damaged", "the store's log was damaged; what was recorded behind the damage is lost",
              {{"store", options.path}, {"damage", first}, {"kept", kept}});
    // Into tables, and the damaged log goes: the next open would stumble over it again.
    const rocksdb::Status flushed = db->Flush(rocksdb::FlushOptions(), all_handles);
    if (!flushed.ok()) return fail_status(flushed, "write out the store " + options.path);
    return {};
  }
  if (point_current_at_newest_manifest(db_path)) status = try_open(access);
  if (const uint64_t missing = status.ok() ? 0 : space_missing_for_repair(db_path); missing > 0) {
    return fail(Code::NoSpace,
                "store " + options.path + " is damaged (" + first + "), and the disk is too full to repair it: free " +
                    std::to_string((missing >> 20) + 1) + " MiB and start again; nothing recorded was touched",
                Origin::Store);
  }
  if (!status.ok() && repair(db_path)) status = try_open(access);
  if (status.ok()) {
    log::warn("store.repaired", "the store was damaged; it is open again, but its newest recordings may be gone",
              {{"store", options.path}, {"damage", first}, {"kept", kept}});
    return {};
  }
  return beyond_repair(first, kept);
}

Result<void> ExchangeStore::Impl::reopen() {
  const std::unique_lock exclusive(handle_mutex);
  auto opened = open_db();
  degraded = !opened;
  if (!opened) {
    const rocksdb::Status reading = try_open(Access::ReadOnly);
    if (!reading.ok()) opened.error().detail += "; reading fails too: " + reading.ToString();
    return opened;
  }
  if (access == Access::ReadOnly) {
    TRY_VOID(load_tables());
    bump();
  }
  return {};
}

Result<void> ExchangeStore::Impl::check_schema() {
  const std::string fingerprint(view(derive("fingerprint", {})));
  TRY(schema, read(Family::Meta, "schema"));
  if (!schema) {
    if (access == Access::ReadOnly)
      return fail(Code::NotFound, "nothing is recorded in " + options.path, Origin::Store);
    // A repair puts what it cannot read there. Where not even a session was saved, going on would be starting anew.
    if (std::error_code none; !has_sessions() && !fs::is_empty(db_path + "/lost", none) && !none) {
      return fail(Code::Corrupt,
                  "store " + options.path + " was damaged and nothing in it could be saved (what is left of it: " +
                      db_path + "/lost); move the directory away or restore it from a backup",
                  Origin::Store);
    }
    return begin_meta();
  }
  if (*schema != std::to_string(kSchemaVersion)) {
    return fail(Code::Unsupported,
                "store " + options.path + " has schema " + *schema + ", this tapdeck knows " +
                    std::to_string(kSchemaVersion) + "; use the tapdeck that wrote it, or another --state-dir",
                Origin::Store);
  }
  TRY(known, read(Family::Meta, "fingerprint"));
  if (known && *known != fingerprint) {
    return fail(Code::Corrupt,
                options.path + "/match.secret does not belong to this store; restore the one it was made with",
                Origin::Store);
  }
  return {};
}

}  // namespace tapdeck::store
