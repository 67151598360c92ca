// ExchangeStore: sessions, takes and recordings in RocksDB, behind a Result API.
//
// Not the queue in front of it (store_writer) and not a cache of hot replays (modes keep that, valid for one
// generation()). One process opens a directory for writing; any number may read it at the same time. Every call may
// touch the disk, so none belongs on a worker thread, except generation(), allocate_id() and the values of open_take.
// Owner: app. Thread: any; calls may overlap.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/result.h"
#include "store/key_filter.h"
#include "store/match_key.h"
#include "store/record.h"

namespace tapdeck::store {

struct PendingWrite;
enum class Opening : uint8_t;  // opening.h
struct Place;

enum class Access { ReadWrite, ReadOnly };
enum class Append { No, Yes };
enum class Durability {
  Wal,    // in RocksDB's log, handed to the kernel: survives the death of the process
  Fsync,  // and on the disk: survives the death of the machine
  Async,  // nobody waits; still written to the log in order
};

// [storage] of the configuration. Zero means unlimited for the three bounds.
struct StoreOptions {
  std::string path;  // directory of this store; created 0700 when opened for writing
  Durability durability = Durability::Wal;
  uint64_t max_bytes = 0;  // of recordings and bodies; the oldest recordings go first
  uint64_t max_recordings = 0;
  std::chrono::seconds max_age{0};
  uint64_t cache_bytes = 64ull << 20;  // RocksDB block cache
  std::string admin_socket;            // written beside the lock, so that others can ask the owner
};

// Who has the store open for writing, as its owner file says. pid 0 = nobody is known.
struct StoreOwner {
  int pid = 0;
  std::string admin_socket;
  bool is_recovering = false;  // for a moment only, on behalf of a reader
};

struct RecordingFilter {
  std::string session;  // empty = all
  std::string host;     // exact, any case
  std::string method;   // exact
  std::string path_contains;
  int status = 0;  // exact; 0 = any
  int64_t since_unix_us = 0;
  std::string text;  // substring of the URL or of any header line, any case
};

struct RecordingPage {
  std::vector<Recording> items;  // newest last
  std::string next;              // pass back for the following page; empty = that was all
};

// A near miss: a recording and the fields in which it differs from what was asked.
struct Nearest {
  uint64_t id = 0;
  std::vector<Difference> differs;
};

struct PruneCounts {
  uint64_t by_bytes = 0, by_count = 0, by_age = 0;
};

struct ImportResult {
  std::string session;
  uint64_t recordings = 0;
  uint64_t bytes = 0;
  uint64_t too_old = 0;  // how many of them retention removes next, by max_age
};

class ExchangeStore {
 public:
  // Errors: Busy (another process writes; detail names its pid and admin socket), Unsupported (newer schema), Corrupt
  // (repair was tried; detail names the path), NotFound (ReadOnly and nothing there), Permission, NoSpace, Io.
  // Opening for writing turns recordings begun by a crashed process into Incomplete ones, finishes interrupted
  // deletions and merges stores left in pending/. So does opening for reading with the recordings, when nobody has the
  // store open and this user may write to it.
  [[nodiscard]] static Result<std::unique_ptr<ExchangeStore>> open(StoreOptions options, Access access);
  // For a second recording process: a new store under <main.path>/pending/ with the same match secrets as main.
  // It is removed by merge_pending(); until then it is an ordinary store opened for writing. Answers::Too: what it has
  // not recorded itself is looked up in main, as that was when it was opened.
  enum class Answers { Own, Too };
  [[nodiscard]] static Result<std::unique_ptr<ExchangeStore>> open_pending(const StoreOptions& main,
                                                                           Answers answers = Answers::Own);
  // The owner file of a store directory; readable without opening it.
  [[nodiscard]] static StoreOwner owner_of(const std::string& path);

  ~ExchangeStore();
  ExchangeStore(const ExchangeStore&) = delete;
  ExchangeStore& operator=(const ExchangeStore&) = delete;

  [[nodiscard]] const StoreOptions& options() const;
  [[nodiscard]] Access access() const;
  // Read-only: sees what the owner wrote since open or the last refresh.
  [[nodiscard]] Result<void> refresh();
  // Moves with delete, activate and every new take: a cached lookup is valid for one value of it.
  [[nodiscard]] uint64_t generation() const { return generation_.load(std::memory_order_acquire); }
  // The next recording id. Lock-free.
  [[nodiscard]] uint64_t allocate_id() { return next_id_.fetch_add(1, std::memory_order_relaxed); }
  // The directory that was opened is still the one that its path names. Error Io: it was removed, renamed or replaced,
  // and nobody finds what is written. A few system calls. Always true of what is only read.
  [[nodiscard]] Result<void> check_place() const;
  // It can be read. After a disk error it may be closed until that is over; whoever prunes it, which is the writer,
  // tries to open it again every second. Errors: Io, it is closed; Busy, it is being opened. Waits for nobody.
  [[nodiscard]] Result<void> check_open() const;
  // Keys of placeholders (redact.h). Never exported.
  [[nodiscard]] const Secret& redaction_secret() const;

  // ---- sessions (sessions.cc). Names: 1 to 64 of [A-Za-z0-9._-], not beginning with '.'.
  // NotFound errors name the nearest session.
  [[nodiscard]] Result<SessionInfo> create_session(std::string_view name);  // AlreadyExists, InvalidArgument
  [[nodiscard]] Result<std::vector<SessionInfo>> list_sessions() const;     // by name
  [[nodiscard]] Result<SessionInfo> session(std::string_view name) const;   // NotFound
  // NotFound, which names the nearest, unless it is here or in the store that this one is beside.
  [[nodiscard]] Result<void> need_session(std::string_view name) const;
  [[nodiscard]] Result<void> delete_session(std::string_view name);  // NotFound; its blobs go when unshared
  // Empty `target` = the store's default. The session must exist, except that an empty name clears the choice.
  [[nodiscard]] Result<void> activate_session(std::string_view name, std::string_view target = {});
  // The session chosen for `target`, else the store's default, else "default".
  [[nodiscard]] Result<std::string> active_session(std::string_view target = {}) const;
  // A new session or take is there for others, and after a restart, from the first thing written into it on.
  // Append::Yes continues the newest take that has recordings (else the newest, or opens the first).
  [[nodiscard]] Result<Take> open_take(std::string_view session, Append append);
  // The same for one who goes on after a restart: Append::Yes continues the take that `holder` opened last, when that
  // was in this session and with the same `state`, else opens one.
  struct Holder {
    std::string name;   // "container:web"
    std::string state;  // "record"
  };
  [[nodiscard]] Result<Take> open_take_of(const Holder& holder, std::string_view session, Append append);
  // The secret for the keys of a session; also defined for sessions that do not exist yet.
  [[nodiscard]] Result<Secret> key_secret(std::string_view session) const;

  // ---- lookup (lookup.cc)
  // Set in the ids that lookups give of recordings of the store that this one was opened beside (open_pending).
  static constexpr uint64_t kOlder = 1ULL << 63;
  // Ids of lookups as numbers that grow in the order of recording, whichever store they are from.
  [[nodiscard]] static uint64_t in_time(uint64_t id) { return id ^ kOlder; }
  struct Found {
    std::vector<uint64_t> ids;
    size_t usable = 0;           // how many of them, from the front, lookup() gives
    std::optional<size_t> last;  // the last finished one of those; none: no id is finished
    std::vector<uint64_t> left;  // of those, where there is a `last`: ReplayRank::Left
  };
  // Ids to replay for a key, in request order: of the newest take that holds a finished recording of it all that are
  // finished, or left by their client (ReplayRank); when only unfinished ones (is_last_resort()) exist, those of the
  // newest such take. Empty = never recorded. NotFound: no such session.
  [[nodiscard]] Result<std::vector<uint64_t>> lookup(std::string_view session, const Key& key) const;
  // The same, and behind them the other unfinished ones of that take or a newer one: for keys that different exchanges
  // share.
  [[nodiscard]] Result<Found> lookup_all(std::string_view session, const Key& key) const;
  // What lookup() would find nothing for, as far as that is known without looking: for worker threads, which keep it as
  // long as they like. Filled in the background once a lookup() of the session found nothing. Null: opened ReadOnly,
  // or answers with another store's recordings too.
  [[nodiscard]] std::shared_ptr<const KeyFilter> key_filter(uint32_t session_number) const;
  // What is stored when it is taken stays readable through it, whatever is deleted: for a body that is read a piece at
  // a time. The space of what is deleted comes back when it dies, before the store does. Taking it and letting it go
  // wait for the database. Null where this process deletes nothing (ReadOnly).
  class View;
  [[nodiscard]] std::shared_ptr<const View> hold() const;
  [[nodiscard]] Result<Recording> get(std::string_view session, uint64_t id,
                                      const View* view = nullptr) const;               // NotFound
  [[nodiscard]] Result<Recording> get(uint64_t id, const View* view = nullptr) const;  // any session; NotFound
  // Hands the body over in order, a segment (at most 256 KiB) at a time; `sink` returning false stops early.
  [[nodiscard]] Result<void> read_body(const BodyRef& body, const std::function<bool(std::string_view)>& sink,
                                       const View* view = nullptr) const;
  // The whole body; TooLarge above `limit`. Corrupt may also mean that the recording was deleted since it was read:
  // not with a view that it was read through, too.
  [[nodiscard]] Result<std::string> read_body(const BodyRef& body, uint64_t limit = 64ull << 20,
                                              const View* view = nullptr) const;
  // At most `limit` recordings most like `parts` (redacted), best first. Looks at no more than the newest 5,000.
  [[nodiscard]] Result<std::vector<Nearest>> nearest(std::string_view session, const KeyParts& parts,
                                                     size_t limit = 3) const;
  // What the session knows of an origin; nullopt = never seen there.
  // With `offered`: as a client saw it that offered this by ALPN, if there was one.
  [[nodiscard]] Result<std::optional<OriginFacts>> origin_facts(std::string_view session, std::string_view host,
                                                                uint16_t port,
                                                                std::optional<std::string_view> offered = {}) const;
  // Who speaks first at `place`. Looks at no more than the newest 5,000 recordings. opening.cc
  [[nodiscard]] Result<Opening> opening(std::string_view session, Place place) const;

  // ---- recordings (recordings.cc)
  // A page in id order, bodies not read. `cursor` is a previous page's `next` (InvalidArgument when it is not one).
  // A page may hold fewer than `limit` items and still have a `next` when a filter passes little.
  [[nodiscard]] Result<RecordingPage> list_recordings(const RecordingFilter& filter, size_t limit = 100,
                                                      std::string_view cursor = {}) const;
  [[nodiscard]] Result<void> delete_recording(uint64_t id);  // NotFound
  // Takes back what no client was given as it says, also what of it was merely begun; those that are not there need not
  // be. As durable as recordings.
  [[nodiscard]] Result<void> withdraw(std::span<const uint64_t> ids);

  // ---- retention (retention.cc)
  // Removes the recordings that ended first until the bounds hold; at most `most` in one call. Also looks after the
  // space of bodies that were deleted (blob_files.h), bounds or not. The writer calls it.
  [[nodiscard]] Result<PruneCounts> prune(int64_t now_unix_us, size_t most = 1000);
  // Totals since open, for metrics.
  [[nodiscard]] PruneCounts pruned() const;
  // Recordings that a crashed process had begun: kept as far as they go, here or merged from beside.
  [[nodiscard]] uint64_t recovered() const;
  // Bytes of recordings and unshared bodies, and number of recordings, kept up to date by every write.
  [[nodiscard]] uint64_t stored_bytes() const;
  [[nodiscard]] uint64_t stored_recordings() const;

  // ---- transfer (transfer.cc)
  // One session as one file; format in docs/EXPORT_FORMAT.md. The file carries the session's match secret, so that
  // keys work elsewhere, but not the redaction secret. `file` is created 0600, never overwritten.
  [[nodiscard]] Result<SessionInfo> export_session(std::string_view name, const std::string& file) const;
  // `as` empty = the name in the file. AlreadyExists, Truncated, Corrupt and Unsupported (newer) leave the store as it
  // was.
  [[nodiscard]] Result<ImportResult> import_session(const std::string& file, std::string_view as);
  // Copies every recording of a closed pending store into this one, as takes of the same sessions (a take that was
  // opened with Append::Yes extends the last), and removes the directory; a MergeReceipt there is told. Where the
  // session of that name has other match secrets by now, as a session "name-2": under the keys of the first nothing
  // would ever be found. Busy while its process lives. Returns how many.
  [[nodiscard]] Result<uint64_t> merge_pending(const std::string& pending_directory);
  // All in pending/ whose processes have ended; what no later try can merge is left alone. One caller at a time.
  void merge_left() const;

  // ---- writing (write_path.cc); StoreWriter's, and tools' that have no writer.
  // All of it in one atomic write, durable as `durability` says when it returns. Errors: NoSpace, Io; nothing of the
  // batch is visible then and the store is usable again once its cause is gone.
  [[nodiscard]] Result<void> write(std::span<PendingWrite* const> writes, Durability durability);
  [[nodiscard]] Result<void> write(std::vector<PendingWrite>& writes, Durability durability);

  struct Impl;

 private:
  ExchangeStore();
  friend struct Impl;
  std::unique_ptr<Impl> impl_;
  std::atomic<uint64_t> generation_{1};
  std::atomic<uint64_t> next_id_{1};
};

// ---- names, also for other lists (targets, modes)
[[nodiscard]] bool is_valid_session_name(std::string_view name);

}  // namespace tapdeck::store
