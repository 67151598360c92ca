#include "store/open_iterators.h"

#include <utility>

namespace tapdeck::store {

class OpenIterators::Tracked final : public rocksdb::Iterator {
 public:
  Tracked(OpenIterators& all, std::unique_ptr<rocksdb::Iterator> rows) : all_(all), rows_(std::move(rows)) {
    const std::lock_guard guard(all_.mutex_);
    all_.tracked_.insert(this);
  }
  ~Tracked() override {
    const std::lock_guard guard(all_.mutex_);
    all_.tracked_.erase(this);
  }
  Tracked(const Tracked&) = delete;
  Tracked& operator=(const Tracked&) = delete;

  [[nodiscard]] bool Valid() const override { return rows_ != nullptr && rows_->Valid(); }
  void SeekToFirst() override {
    if (rows_ != nullptr) rows_->SeekToFirst();
  }
  void SeekToLast() override {
    if (rows_ != nullptr) rows_->SeekToLast();
  }
  void Seek(const rocksdb::Slice& target) override {
    if (rows_ != nullptr) rows_->Seek(target);
  }
  void SeekForPrev(const rocksdb::Slice& target) override {
    if (rows_ != nullptr) rows_->SeekForPrev(target);
  }
  void Next() override { rows_->Next(); }
  void Prev() override { rows_->Prev(); }
  [[nodiscard]] rocksdb::Slice key() const override { return rows_->key(); }
  [[nodiscard]] rocksdb::Slice value() const override { return rows_->value(); }
  [[nodiscard]] rocksdb::Status status() const override {
    return rows_ != nullptr ? rows_->status() : rocksdb::Status::Aborted("the store was opened anew meanwhile");
  }
  void end() { rows_.reset(); }

 private:
  OpenIterators& all_;
  std::unique_ptr<rocksdb::Iterator> rows_;  // null: ended
};

std::unique_ptr<rocksdb::Iterator> OpenIterators::track(std::unique_ptr<rocksdb::Iterator> rows) {
  return std::make_unique<Tracked>(*this, std::move(rows));
}

void OpenIterators::end_all() {
  const std::lock_guard guard(mutex_);
  for (Tracked* rows : tracked_) rows->end();
}

}  // namespace tapdeck::store
