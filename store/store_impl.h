// The inside of ExchangeStore, shared by its implementation files: open handles, the session table kept in memory, and
// row keys. Internal to store/, the only header here that shows RocksDB.
//
// Locks, in this order: write (one change at a time), handle (shared to use `db`, exclusive to reopen it), table;
// filter is taken inside any of them.
#pragma once

#include <rocksdb/db.h>
#include <rocksdb/perf_level.h>
#include <rocksdb/write_batch.h>

#include <array>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <string>
#include <thread>
#include <unordered_set>
#include <vector>

#include "daemon/base/unique_fd.h"
#include "store/blob_files.h"
#include "store/byte_codec.h"
#include "store/exchange_store.h"
#include "store/open_iterators.h"
#include "store/recording_builder.h"
#include "store/reserve.h"

namespace tapdeck::store {

inline constexpr uint64_t kSchemaVersion = 1;

// Column families. Keys are big endian, so that they sort by number.
enum class Family : size_t {
  Default,     // unused, RocksDB wants it
  Meta,        // "schema", "fingerprint", "blob_bytes", "last_id" given when something was last removed (no id is
               // given twice), "deleted" while files may still hold what somebody deleted, "active/<target>",
               // "merge/<directory>/<session>", "holder/<name>" -> its take; in
               // pending/: "append/<session>" when it extends the last take
  Sessions,    // session(4) -> SessionRow
  Recordings,  // session(4) id(8) -> encoded record
  Match,       // session(4) key(32) ~take(8) id(8) -> ReplayRank(1): a prefix seek meets the newest take first
  Blobs,       // digest(32) -> segment bytes
  BlobRefs,    // digest(16 of 32) id(8) -> "": who needs a blob. Half a digest is plenty among blobs of one store
  Origins,     // session(4) port(2) host -> OriginFacts; behind it 0 and an offer: for that, or a note (name_answers.h)
  Partial,     // id(8) 0 -> begun record; id(8) 1 part(4) -> one of its segments
  Count,
};
// A row past all others that each family keeps in a table from the start. RocksDB's repair learns families from tables
// only and would throw away what the log holds of a family that was never flushed.
inline const std::string kAnchor(48, '\xff');       // no shorter than the prefix of Match
inline constexpr const char* kDeleted = "deleted";  // a row of Meta
inline constexpr size_t kFamilies = static_cast<size_t>(Family::Count);
[[nodiscard]] const char* name_of(Family family);

// Whether what an iterator reads goes into the block cache.
enum class Cached : uint8_t { No, Yes };
// Hidden: being filled, and not there for anybody.
enum class Visibility : uint8_t { Listed, Hidden };

struct SessionRow {
  std::string name;
  uint64_t takes = 0;
  uint64_t recordings = 0;
  uint64_t bytes = 0;         // encoded records and their bodies
  uint64_t record_bytes = 0;  // encoded records alone
  int64_t created_unix_us = 0;
  int64_t last_recorded_unix_us = 0;
  bool hidden = false;           // being deleted or imported: not listed, removed at the next open
  std::optional<Secret> secret;  // carried by an import; else derived from the name
  uint64_t first_id = 0;         // memory only: no recording lies below it, which spares seeks over deleted rows
};
void encode_session(const SessionRow& row, std::string& out);
[[nodiscard]] Result<SessionRow> decode_session(std::string_view bytes);
void encode_origin(const OriginFacts& facts, std::string& out);
[[nodiscard]] Result<OriginFacts> decode_origin(std::string_view bytes);

[[nodiscard]] std::string session_prefix(uint32_t session);
[[nodiscard]] std::string recording_key(uint32_t session, uint64_t id);
[[nodiscard]] std::string match_prefix(uint32_t session, const Key& key);
[[nodiscard]] std::string match_row(uint32_t session, const Key& key, uint64_t take, uint64_t id);
[[nodiscard]] std::string reference_prefix(const Digest& digest);
[[nodiscard]] std::string reference_row(const Digest& digest, uint64_t id);
// The same in the memory of `out`, which is replaced.
void make_recording_key(std::string& out, uint32_t session, uint64_t id);
void make_match_row(std::string& out, uint32_t session, const Key& key, uint64_t take, uint64_t id);
void make_reference_row(std::string& out, const Digest& digest, uint64_t id);
[[nodiscard]] std::string origin_row(uint32_t session, uint16_t port, std::string_view host);
// Beside an origin's row: the same facts as a client saw them that offered this.
[[nodiscard]] std::string alpn_row(std::string origin, std::string_view offered);
[[nodiscard]] std::string partial_row(uint64_t id);
[[nodiscard]] std::string partial_part(uint64_t id, uint32_t part);
// First byte of such a part: 0 a segment of the response, 1 of the request, this: an entry of the journal.
inline constexpr uint8_t kJournalPart = 2;
// The id at the end of a recording or reference row.
[[nodiscard]] uint64_t id_of_row(std::string_view row);
// The smallest string greater than every string that begins with `prefix` (not all 0xff).
[[nodiscard]] std::string after_prefix(std::string prefix);
[[nodiscard]] inline rocksdb::Slice slice(std::string_view text) {
  return {text.data(), text.size()};
}
// RocksDB counts every comparison of keys for its thread, which is a tenth of what a write costs. Not in this thread.
inline void count_nothing() {
  rocksdb::SetPerfLevel(rocksdb::PerfLevel::kDisable);
}

// What ends this recording: all but its bytes and what was learnt of its origin. transfer.cc
[[nodiscard]] PendingWrite finish_of(const Recording& recording, uint32_t session, uint64_t id);

// The next step after Code::NoSpace, for the end of its detail.
inline constexpr const char* kFreeSpace = "; free some space, the store goes on by itself";
[[nodiscard]] bool is_full(const rocksdb::Status& status);
// What a rocksdb status means, with `what` in front.
[[nodiscard]] std::unexpected<Error> fail_status(const rocksdb::Status& status, const std::string& what);

// Digests lately known to be stored, so that a body that repeats is not written or looked up again. Direct mapped:
// 65,536 digests in 2 MiB, a collision merely forgets one.
class RecentDigests {
 public:
  [[nodiscard]] bool contains(const Digest& digest) const { return slots_[slot(digest)] == digest; }
  void add(const Digest& digest) { slots_[slot(digest)] = digest; }
  void clear() { slots_.assign(slots_.size(), Digest{}); }

 private:
  static size_t slot(const Digest& digest) { return static_cast<size_t>(digest[0]) << 8 | digest[1]; }
  std::vector<Digest> slots_ = std::vector<Digest>(65536);
};

// What was last written of an origin: the next exchange with it has nothing to add and looks nothing up.
class LastOrigin {
 public:
  [[nodiscard]] bool is(const PendingWrite& write) const {
    return is_set_ && session_number_ == write.session_number && port_ == write.port && host_ == write.host &&
           facts_ == write.origin && alpn_ == write.alpn;
  }
  void set(const PendingWrite& write) {
    is_set_ = true;
    session_number_ = write.session_number;
    port_ = write.port;
    host_ = write.host;
    facts_ = write.origin;
    alpn_ = write.alpn;
  }
  void clear() { is_set_ = false; }

 private:
  bool is_set_ = false;
  uint32_t session_number_ = 0;
  uint16_t port_ = 0;
  std::string host_;
  OriginFacts facts_;
  std::optional<AlpnChoice> alpn_;
};

// The snapshot goes with the database it is of: after a reopen the view is of what is stored then.
class ExchangeStore::View {
 public:
  explicit View(const Impl& store);
  ~View();
  View(const View&) = delete;
  View& operator=(const View&) = delete;
  const rocksdb::Snapshot* snapshot = nullptr;  // handle

 private:
  const Impl& store_;
};

// Where something of a recording is that is removed.
inline constexpr Family kRemovedFrom[] = {Family::Blobs, Family::Recordings, Family::Match, Family::BlobRefs};

// Takes back the space of what was removed, step by step: flush, compact by level, drop the logs, collect blob files.
struct SpaceRound {
  int levels_to_go = 0;          // compactions still to be suggested
  bool is_for_deletion = false;  // it began because a user deleted something, of which no file may keep anything
  bool are_logs_gone = false;    // let_go_of_logs() has run in this round
  int waited = 0;                // ticks that the next step has waited for RocksDB's jobs
};

struct ExchangeStore::Impl {
  using Guard = std::shared_lock<std::shared_mutex>;
  using Row = std::pair<uint32_t, SessionRow>;
  using Extra = std::function<void(rocksdb::WriteBatch&)>;

  Impl(ExchangeStore& owner, StoreOptions store_options, Access mode)
      : self(owner), options(std::move(store_options)), access(mode), db_path(options.path + "/db") {}
  ~Impl() {
    stop_filling();
    settle();
    close_db();
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  // For what is no member of it.
  [[nodiscard]] static const Impl& of(const ExchangeStore& store) { return *store.impl_; }

  ExchangeStore& self;
  const StoreOptions options;
  const Access access;
  const std::string db_path;
  const Buffers buffers = buffers_for(options.max_bytes);
  UniqueFd lock;  // flock of <path>/owner.lock while open for writing
  Secret secret{};
  Secret redaction{};

  mutable std::shared_mutex handle_mutex;
  std::unique_ptr<rocksdb::DB> db;
  std::array<rocksdb::ColumnFamilyHandle*, kFamilies> families{};
  std::vector<rocksdb::ColumnFamilyHandle*> all_handles;

  std::mutex write_mutex;
  rocksdb::WriteBatch write_batch;                                                // write: the last one's memory
  RecentDigests recent;                                                           // write
  std::map<std::string, OriginFacts> origins;                                     // write: rows already stored, bounded
  LastOrigin last_origin;                                                         // write
  BlobCollection blob_collection{buffers};                                        // write
  Reserve reserve{options.path + "/reserve", is_beside() ? 0 : buffers.reserve};  // write
  int64_t next_tending_us = 0;                                                    // write
  uint64_t background_failures = 0;                                               // write: of RocksDB, dealt with
  uint64_t newest_tended = 0;                                                     // write: its sequence number
  std::atomic<int64_t> next_win_us{0};                                            // win_space() waits until then
  uint64_t removed_bytes = 0;          // write: since RocksDB was last told to take space back
  std::optional<int64_t> deleted_us;   // write: when somebody deleted something that RocksDB was not told of yet
  SpaceRound round;                    // write
  std::atomic<bool> owes_space{true};  // changed under write: tend_space() has something to do soon
  bool broken = false;                 // write: the last write failed, resume before the next

  bool recovers = false;      // opened for a moment: recordings of a crashed process and nothing else
  bool has_partials = false;  // seen by load_tables()
  std::atomic<uint64_t> recovered{0};

  bool degraded = false;  // handle: open for writing failed, reading goes on without

  // The store that this one was opened beside, when it is to answer as well: as it was then.
  std::unique_ptr<ExchangeStore> older;
  bool merges_later = false;  // opened by open_pending()

  mutable std::mutex table_mutex;
  std::map<uint32_t, SessionRow> sessions;    // table
  std::map<std::string, std::string> active;  // table: target -> session
  uint32_t next_session = 1;                  // table
  mutable std::mutex filter_mutex;
  std::map<uint32_t, std::shared_ptr<KeyFilter>> filters;  // filter: by session number
  std::atomic<bool> filling{false}, closing{false};
  std::thread filler;  // filter

  // Whether look-ups put what they read into the block cache: while all of the store has room there. In a larger one a
  // block merely drives out another, which costs more than reading it from the page cache again.
  std::atomic<bool> keeps_blocks{true};
  // An iterator of Match for the next look-up. It holds on to what RocksDB has replaced meanwhile, so prune() drops it.
  std::atomic<rocksdb::Iterator*> cursor{nullptr};

  std::atomic<uint64_t> blob_bytes{0};  // changed under write
  std::atomic<uint64_t> pruned_bytes{0}, pruned_count{0}, pruned_age{0};

  // ---- store_open.cc, store_recovery.cc
  [[nodiscard]] Result<void> open();
  [[nodiscard]] Result<void> take_lock();
  [[nodiscard]] Result<void> load_secret();
  [[nodiscard]] Result<void> open_db();
  [[nodiscard]] Result<void> open_for_reading();
  // What of a damaged log is not read: Refuse says Corruption, UpTo opens with what comes before the damage.
  enum class DamagedLog { Refuse, UpTo };
  [[nodiscard]] rocksdb::Status try_open(Access mode, DamagedLog log = DamagedLog::Refuse);
  [[nodiscard]] Result<void> reopen();
  void close_db();
  mutable std::mutex view_mutex;
  mutable std::set<View*> views;  // view: those alive
  void release_views();
  mutable OpenIterators open_iterators;
  [[nodiscard]] Result<void> load_tables();
  void weigh();  // under table: sets keeps_blocks
  [[nodiscard]] Result<void> check_schema();
  // ---- meta_repair.cc
  [[nodiscard]] std::unexpected<Error> beyond_repair(const std::string& damage, const std::string& kept) const;
  // Drops the meta table where it cannot be read; check_schema() begins it anew.
  [[nodiscard]] Result<void> mend_meta();
  [[nodiscard]] Result<void> begin_meta();
  [[nodiscard]] bool has_sessions() const;
  [[nodiscard]] Result<uint64_t> count_bodies() const;  // bytes, of each body once
  // ---- store_recovery.cc
  [[nodiscard]] Result<void> recover_for_reader();
  [[nodiscard]] Result<void> recover_partials();
  [[nodiscard]] Result<void> recover_partial(uint64_t id, std::string_view begun);
  [[nodiscard]] Result<void> finish_deletions();
  [[nodiscard]] Result<void> finish_withdrawals(const std::vector<uint64_t>& left);
  void merge_leftovers();
  std::set<std::string> unmergeable;  // directories that merge_leftovers() failed on; by its caller only

  // ---- helpers
  [[nodiscard]] rocksdb::ColumnFamilyHandle* cf(Family family) const { return families[static_cast<size_t>(family)]; }
  // In pending/ of another.
  [[nodiscard]] bool is_beside() const {
    return std::filesystem::path(options.path).parent_path().filename() == "pending";
  }
  [[nodiscard]] Guard use() const { return Guard(handle_mutex); }
  [[nodiscard]] Result<void> need_writable() const;
  [[nodiscard]] Result<void> need_open() const;
  [[nodiscard]] std::unique_ptr<rocksdb::Iterator> iterate(Family family, Cached cached = Cached::Yes,
                                                           const rocksdb::Snapshot* snapshot = nullptr) const;
  [[nodiscard]] Result<std::optional<std::string>> read(Family family, std::string_view key,
                                                        const rocksdb::Snapshot* snapshot = nullptr) const;
  // A live session by name; NotFound names the nearest.
  [[nodiscard]] Result<Row> find_session(std::string_view name) const;
  // Under table: its number when there is a live one.
  [[nodiscard]] std::optional<uint32_t> number_of(std::string_view name) const;
  [[nodiscard]] std::vector<Row> live_sessions() const;
  [[nodiscard]] SessionInfo info(uint32_t number, const SessionRow& row) const;  // under table
  void bump() { self.generation_.fetch_add(1, std::memory_order_acq_rel); }

  // ---- sessions.cc; the caller holds write
  [[nodiscard]] Result<Row> ensure_locked(std::string_view name);  // in memory when it is new
  [[nodiscard]] Result<Take> take_locked(const Row& session, Append append);
  // The newest of the first `newest` takes of a session that something was recorded into; 0: none.
  [[nodiscard]] Result<uint64_t> newest_recorded_take(uint32_t number, uint64_t newest) const;
  [[nodiscard]] SessionRow row_of(uint32_t number) const;       // which exists
  [[nodiscard]] Secret secret_of(const SessionRow& row) const;  // of its keys; whoever calls

  // ---- pending.cc
  [[nodiscard]] Result<Take> open_merged_take(const std::string& name, const Secret& keys, Append append);
  [[nodiscard]] Result<void> take_over_origins(const Impl& from, uint32_t session, uint32_t as_session);

  // ---- lookup.cc
  [[nodiscard]] Result<Found> find_own(std::string_view session, const Key& key);
  [[nodiscard]] std::unique_ptr<rocksdb::Iterator> take_cursor();
  void give_back(std::unique_ptr<rocksdb::Iterator> rows);
  void drop_cursor() { delete cursor.exchange(nullptr); }

  // ---- key_filter_fill.cc
  [[nodiscard]] std::shared_ptr<KeyFilter> filter_of(uint32_t session) const;  // null: nobody has asked for it
  void drop_filter(uint32_t session);
  // Starts filling it unless that has been done; `recordings` sizes it.
  void want_filter(uint32_t session, uint64_t recordings);
  [[nodiscard]] bool fill_filter(uint32_t session, KeyFilter& filter, uint64_t recordings);
  void stop_filling();

  // ---- write_path.cc; the caller holds write
  void forget_origins();
  enum class Purpose : uint8_t { Add, Remove };
  [[nodiscard]] Result<void> commit(rocksdb::WriteBatch& batch, Durability durability, Purpose purpose = Purpose::Add);
  [[nodiscard]] Result<void> resume();
  // For whoever is about to make a batch, or to read what it depends on.
  [[nodiscard]] Result<void> go_on_if_closed(Purpose purpose = Purpose::Add);
  [[nodiscard]] Result<void> write_locked(std::span<PendingWrite* const> writes, Durability durability,
                                          const Extra& extra);
  [[nodiscard]] Result<void> write_locked(std::vector<PendingWrite>& writes, Durability durability, const Extra& extra);
  [[nodiscard]] Result<void> put_session(uint32_t number, const SessionRow& row, Purpose purpose = Purpose::Add);
  // A new session in memory: whoever writes into it first writes its row, too.
  [[nodiscard]] Result<uint32_t> name_locked(std::string_view name, Visibility visibility,
                                             std::optional<Secret> with_secret);
  // The same, written.
  [[nodiscard]] Result<uint32_t> create_locked(std::string_view name, Visibility visibility,
                                               std::optional<Secret> with_secret);

  // ---- space.cc; the caller holds write, except for win_space()
  void tend_space(int64_t now_unix_us);
  [[nodiscard]] bool is_early(int64_t now_unix_us) const;
  void open_again(int64_t now_unix_us);
  [[nodiscard]] Result<void> get_going(Purpose purpose);
  [[nodiscard]] bool gets_reserve(Purpose purpose);
  [[nodiscard]] bool is_near_bound() const;
  // NoSpace: what is free was set aside for removing, and recordings have to leave it.
  [[nodiscard]] Result<void> leave_reserve() const;
  [[nodiscard]] bool give_up_reserve();
  [[nodiscard]] bool is_short_of_space() const;
  void win_space();

  // ---- space_round.cc; the caller holds write
  void owe_space(int64_t now_unix_us);  // a user deleted something; the caller has written kDeleted to Meta
  [[nodiscard]] bool is_round_due(bool is_idle, int64_t now_unix_us) const;
  [[nodiscard]] bool is_worth_compacting() const;
  [[nodiscard]] bool is_compacting() const;
  void begin_round();
  void go_on_with_round();
  void suggest_compaction(Family family);
  void let_go_of_logs();
  void end_round();
  void settle();  // takes write itself; when the store is closed

  // ---- retention.cc; the caller holds write
  // Gathers the removal of recordings into one batch.
  struct Removal {
    rocksdb::WriteBatch batch;
    std::map<uint32_t, SessionRow> rows;  // changed counts
    std::unordered_set<uint64_t> ids;
    uint64_t freed = 0;  // blob bytes
    std::set<Digest> gone;
  };
  void remove_recording(Removal& removal, uint32_t session, uint64_t id, std::string_view encoded);
  void release_blob(Removal& removal, const Digest& digest, uint64_t id);
  [[nodiscard]] Result<void> commit_removal(Removal& removal, Durability durability = Durability::Wal);
  [[nodiscard]] Result<void> erase_session_rows(uint32_t number);
  [[nodiscard]] Secret derive(std::string_view label, std::string_view name) const;
};

}  // namespace tapdeck::store
