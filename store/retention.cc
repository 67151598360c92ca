// Removing recordings: bounds, deletion, and the blobs that nobody needs any more.
#include <algorithm>

#include "daemon/base/clock.h"
#include "store/record_codec.h"
#include "store/store_impl.h"

namespace tapdeck::store {
namespace {

constexpr size_t kRemovalsPerBatch = 1000;

}  // namespace

// Adds to the batch: the record, its index row, its references, and the blobs only it used.
void ExchangeStore::Impl::remove_recording(Removal& removal, uint32_t session, uint64_t id, std::string_view encoded) {
  removal.batch.Delete(cf(Family::Recordings), recording_key(session, id)).PermitUncheckedError();
  removal.ids.insert(id);
  auto known = removal.rows.find(session);
  if (known == removal.rows.end()) {
    const std::lock_guard table(table_mutex);
    const auto row = sessions.find(session);
    if (row != sessions.end()) known = removal.rows.emplace(session, row->second).first;
  }
  const auto recording = decode_record(encoded);
  uint64_t bytes = encoded.size();
  if (recording) {
    bytes += recording->request_body.size + recording->response_body.size;
    removal.batch.Delete(cf(Family::Match), match_row(session, recording->key, recording->take, id))
        .PermitUncheckedError();
    for (const auto* body : {&recording->request_body, &recording->response_body}) {
      for (const auto& segment : body->segments) release_blob(removal, segment.digest, id);
    }
  }
  if (known == removal.rows.end()) return;
  SessionRow& row = known->second;
  row.recordings -= std::min<uint64_t>(row.recordings, 1);
  row.bytes -= std::min(row.bytes, bytes);
  row.record_bytes -= std::min<uint64_t>(row.record_bytes, encoded.size());
}

// Drops one reference, and the blob with its last one. References of recordings in the same batch count as gone.
void ExchangeStore::Impl::release_blob(Removal& removal, const Digest& digest, uint64_t id) {
  removal.batch.Delete(cf(Family::BlobRefs), reference_row(digest, id)).PermitUncheckedError();
  const std::string prefix = reference_prefix(digest);
  auto rows = iterate(Family::BlobRefs);
  const auto another = [&] { return !removal.ids.contains(id_of_row(rows->key().ToStringView())); };
  // Retention goes from old to new, so the next id is most likely alive: ask upwards before downwards.
  for (rows->Seek(reference_row(digest, id)); rows->Valid() && rows->key().starts_with(prefix); rows->Next()) {
    if (another()) return;
  }
  for (rows->SeekForPrev(reference_row(digest, id)); rows->Valid() && rows->key().starts_with(prefix); rows->Prev()) {
    if (another()) return;
  }
  if (!rows->status().ok() || !removal.gone.insert(digest).second) return;
  rocksdb::PinnableSlice value;
  if (!db->Get(rocksdb::ReadOptions(), cf(Family::Blobs), slice(view(digest)), &value).ok()) return;
  removal.freed += value.size();
  removal.batch.Delete(cf(Family::Blobs), slice(view(digest))).PermitUncheckedError();
}

Result<void> ExchangeStore::Impl::commit_removal(Removal& removal, Durability durability) {
  std::string value;
  for (const auto& [number, row] : removal.rows) {
    value.clear();
    encode_session(row, value);
    removal.batch.Put(cf(Family::Sessions), session_prefix(number), value).PermitUncheckedError();
  }
  const uint64_t left = blob_bytes - std::min(blob_bytes.load(), removal.freed);
  value.clear();
  ByteWriter(value).u64(left);
  removal.batch.Put(cf(Family::Meta), "blob_bytes", value).PermitUncheckedError();
  // The rows that are left no longer say which ids were given.
  value.clear();
  ByteWriter(value).u64(self.next_id_.load(std::memory_order_relaxed) - 1);
  removal.batch.Put(cf(Family::Meta), "last_id", value).PermitUncheckedError();
  TRY_VOID(commit(removal.batch, durability, Purpose::Remove));
  removed_bytes += removal.freed + removal.batch.GetDataSize();
  // Digests that went must be written again when they come back.
  if (!removal.gone.empty()) recent.clear();
  blob_bytes = left;
  const std::lock_guard table(table_mutex);
  for (auto& [number, row] : removal.rows) {
    if (const auto known = sessions.find(number); known != sessions.end()) known->second = row;
  }
  return {};
}

// The rows of a session that is hidden already. Repeatable: an interrupted run is finished by the next open.
Result<void> ExchangeStore::Impl::erase_session_rows(uint32_t number) {
  const std::string prefix = session_prefix(number);
  std::string from = recording_key(number, 0);
  while (true) {
    // Taken anew for each batch, so that recording goes on in between.
    const std::lock_guard guard(write_mutex);
    if (broken || db == nullptr) TRY_VOID(get_going(Purpose::Remove));
    Removal removal;
    auto rows = iterate(Family::Recordings, Cached::No);
    for (rows->Seek(from); rows->Valid() && rows->key().starts_with(prefix) && removal.ids.size() < kRemovalsPerBatch;
         rows->Next())
      remove_recording(removal, number, id_of_row(rows->key().ToStringView()), rows->value().ToStringView());
    if (!rows->status().ok()) return fail_status(rows->status(), "delete a session");
    if (removal.ids.empty()) break;
    from = recording_key(number, *std::ranges::max_element(removal.ids) + 1);
    removal.rows.clear();
    TRY_VOID(commit_removal(removal));
  }
  {
    const std::lock_guard guard(write_mutex);
    TRY_VOID(go_on_if_closed(Purpose::Remove));
    rocksdb::WriteBatch batch;
    for (const Family family : {Family::Recordings, Family::Match, Family::Origins})
      batch.DeleteRange(cf(family), prefix, after_prefix(prefix)).PermitUncheckedError();
    batch.Delete(cf(Family::Sessions), prefix).PermitUncheckedError();
    batch.Put(cf(Family::Meta), kDeleted, {}).PermitUncheckedError();
    TRY_VOID(commit(batch, options.durability, Purpose::Remove));
    owe_space(unix_now_us());
    forget_origins();
    const std::lock_guard table(table_mutex);
    sessions.erase(number);
  }
  win_space();
  return {};
}

uint64_t ExchangeStore::stored_bytes() const {
  const std::lock_guard table(impl_->table_mutex);
  uint64_t total = impl_->blob_bytes;
  for (const auto& [number, row] : impl_->sessions) total += row.record_bytes;
  return total;
}

uint64_t ExchangeStore::stored_recordings() const {
  const std::lock_guard table(impl_->table_mutex);
  uint64_t total = 0;
  for (const auto& [number, row] : impl_->sessions) total += row.recordings;
  return total;
}

PruneCounts ExchangeStore::pruned() const {
  return {impl_->pruned_bytes, impl_->pruned_count, impl_->pruned_age};
}

namespace {

// Recordings in the order in which they ended, oldest first. They are stored in the order in which they began; the few
// that lasted longer than what began after them wait in here, beside the oldest of the rest.
class ByEnd {
 public:
  struct Item {
    int64_t ended_unix_us = 0;  // 0: it does not decode
    uint64_t id = 0;
    uint32_t session = 0;
    std::string encoded;
  };

  explicit ByEnd(ExchangeStore::Impl& store) {
    for (const auto& [number, row] : store.live_sessions()) {
      auto rows = store.iterate(Family::Recordings, Cached::No);
      rows->Seek(recording_key(number, row.first_id));
      cursors_.push_back({number, row.first_id, std::move(rows)});
    }
  }

  // Null: there is no more.
  [[nodiscard]] const Item* first() {
    while (waiting_.size() < kWaiting && take_next()) continue;
    const auto found =
        std::ranges::min_element(waiting_, {}, [](const Item& item) { return std::pair(item.ended_unix_us, item.id); });
    first_ = static_cast<size_t>(found - waiting_.begin());
    return found == waiting_.end() ? nullptr : &*found;
  }
  void drop_first() {
    std::swap(waiting_[first_], waiting_.back());
    waiting_.pop_back();
  }
  // No recording of the session that is left lies below it.
  [[nodiscard]] uint64_t first_id(uint32_t session) const {
    uint64_t least = 0;
    for (const auto& cursor : cursors_) {
      if (cursor.session == session) least = cursor.next_id;
    }
    for (const auto& item : waiting_) {
      if (item.session == session) least = std::min(least, item.id);
    }
    return least;
  }

 private:
  static constexpr size_t kWaiting = 32;

  struct Cursor {
    uint32_t session;
    uint64_t next_id;  // no row that is left lies below it
    std::unique_ptr<rocksdb::Iterator> rows;
    [[nodiscard]] bool is_over() const { return !rows->Valid() || !rows->key().starts_with(session_prefix(session)); }
    // Those that are over come last.
    [[nodiscard]] uint64_t id() const { return is_over() ? ~0ULL : id_of_row(rows->key().ToStringView()); }
  };

  bool take_next() {
    const auto oldest = std::ranges::min_element(cursors_, {}, &Cursor::id);
    if (oldest == cursors_.end() || oldest->is_over()) return false;
    Item item{.id = oldest->id(), .session = oldest->session, .encoded = oldest->rows->value().ToString()};
    if (const auto recording = decode_record(item.encoded)) item.ended_unix_us = ended_unix_us(*recording);
    waiting_.push_back(std::move(item));
    oldest->next_id = waiting_.back().id + 1;
    oldest->rows->Next();
    return true;
  }

  std::vector<Cursor> cursors_;
  std::vector<Item> waiting_;
  size_t first_ = 0;
};

}  // namespace

Result<PruneCounts> ExchangeStore::prune(int64_t now_unix_us, size_t most) {
  TRY_VOID(impl_->need_writable());
  PruneCounts counts;
  const auto& options = impl_->options;
  {
    const std::lock_guard guard(impl_->write_mutex);
    impl_->tend_space(now_unix_us);
    impl_->drop_cursor();
    const std::lock_guard table(impl_->table_mutex);
    impl_->weigh();
  }
  uint64_t bytes = stored_bytes();
  uint64_t recordings = stored_recordings();
  const auto is_over = [&] {
    return (options.max_bytes != 0 && bytes > options.max_bytes) ||
           (options.max_recordings != 0 && recordings > options.max_recordings);
  };
  if (!is_over() && options.max_age.count() == 0) return counts;
  const int64_t oldest_allowed = now_unix_us - options.max_age.count() * 1'000'000;
  const std::lock_guard guard(impl_->write_mutex);
  // One that merely failed to write can be read: it gets going when there is something to remove.
  if (!impl_->db) TRY_VOID(impl_->get_going(Impl::Purpose::Remove));
  ByEnd order(*impl_);
  Impl::Removal removal;
  while (removal.ids.size() < most) {
    const ByEnd::Item* oldest = order.first();
    if (oldest == nullptr) break;
    const bool too_old = options.max_age.count() != 0 && oldest->ended_unix_us < oldest_allowed;
    if (options.max_bytes != 0 && bytes > options.max_bytes) {
      ++counts.by_bytes;
    } else if (options.max_recordings != 0 && recordings > options.max_recordings) {
      ++counts.by_count;
    } else if (too_old) {
      ++counts.by_age;
    } else {
      break;
    }
    const uint64_t freed = removal.freed;
    impl_->remove_recording(removal, oldest->session, oldest->id, oldest->encoded);
    bytes -= std::min(bytes, oldest->encoded.size() + (removal.freed - freed));
    --recordings;
    order.drop_first();
  }
  if (removal.ids.empty()) return counts;
  for (auto& [number, row] : removal.rows) row.first_id = order.first_id(number);
  TRY_VOID(impl_->commit_removal(removal));
  impl_->bump();
  impl_->pruned_bytes += counts.by_bytes;
  impl_->pruned_count += counts.by_count;
  impl_->pruned_age += counts.by_age;
  return counts;
}

}  // namespace tapdeck::store
