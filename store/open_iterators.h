// Iterators over a database that a failing write may close and open again while they live: RocksDB closes nothing that
// has iterators. They are ended first, and then say so as any iterator says that it failed.
//
// Not for those that are used without a lock that keeps the database from being closed by another thread. Internal to
// store/.
#pragma once

#include <rocksdb/iterator.h>

#include <memory>
#include <mutex>
#include <set>

namespace tapdeck::store {

class OpenIterators {
 public:
  OpenIterators() = default;
  OpenIterators(const OpenIterators&) = delete;
  OpenIterators& operator=(const OpenIterators&) = delete;

  // The same iterator, known here until it dies, which it does before this.
  [[nodiscard]] std::unique_ptr<rocksdb::Iterator> track(std::unique_ptr<rocksdb::Iterator> rows);
  // All there are: not Valid() from now on, with a status that is not ok, whatever is asked of them.
  void end_all();

 private:
  class Tracked;
  std::mutex mutex_;
  std::set<Tracked*> tracked_;  // mutex
};

}  // namespace tapdeck::store
