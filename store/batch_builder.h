// BatchBuilder: makes one RocksDB batch of what recordings and notes consist of, and afterwards brings what the store
// keeps in memory up to it. Internal to store/.
//
// Writes nothing itself (write_path.cc). Owner: the write that it is for, under the store's write lock.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "store/key_filter.h"
#include "store/store_impl.h"

namespace tapdeck::store {

// Puts are cheap appends to one string.
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
  void put_note(const PendingWrite& write);
  void put_facts(const std::string& row, const OriginFacts& facts);
  void put_begin(const PendingWrite& write);
  void put_segment(const PendingWrite& write);
  void put_journal(const PendingWrite& write);
  void put_recording(const PendingWrite& write, SessionRow& session);
  void give_up(const PendingWrite& write);
  void drop(const PendingWrite& write);
  void forget_begun(uint64_t id);

  ExchangeStore::Impl& impl_;
  rocksdb::WriteBatch& batch_;
  std::map<uint32_t, std::optional<SessionRow>> rows_;
  std::optional<uint32_t> filter_session_;
  std::shared_ptr<KeyFilter> filter_;  // of that session
  std::string key_;                    // of the row in the making
  std::vector<const PendingWrite*> dropped_;
  uint64_t new_blob_bytes_ = 0;
};

}  // namespace tapdeck::store
