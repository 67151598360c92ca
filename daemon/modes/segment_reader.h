// SegmentReader: reads a long recorded body a segment at a time, on the reader pool: memory stays flat however long it
// is, and what is deleted meanwhile (retention, `recording delete`) is still there for it.
//
// For the time of one sending, whose client is bound by limits.idle_timeout: it keeps deleted bodies on the disk.
// Owner: who sends. Thread: its worker's; both outlive it.
#pragma once

#include <memory>
#include <string>

#include "daemon/net/task.h"
#include "daemon/net/thread_pool.h"
#include "store/exchange_store.h"

namespace tapdeck::modes {

class SegmentReader {
 public:
  SegmentReader(const store::ExchangeStore& store, net::ThreadPool& readers) : store_(&store), readers_(&readers) {}
  ~SegmentReader() { forget(); }
  SegmentReader(SegmentReader&& other) noexcept = default;
  SegmentReader& operator=(SegmentReader&&) = delete;
  SegmentReader(const SegmentReader&) = delete;
  SegmentReader& operator=(const SegmentReader&) = delete;

  // What is stored now is what read() reads; without it, what is at the first read().
  net::Task<> begin();
  // Errors: those of the store.
  net::Task<Result<std::string>> read(store::Segment segment);
  // The next body may be a newer one.
  void forget();

 private:
  const store::ExchangeStore* store_;
  net::ThreadPool* readers_;
  std::shared_ptr<const store::ExchangeStore::View> view_;
  bool begun_ = false;  // also without a view, where none is needed
};

}  // namespace tapdeck::modes
