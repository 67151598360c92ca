// GrpcBytes: sends parts of a recorded response body, in order: out of memory, or read from the store a segment at a
// time.
//
// Owner: one gRPC call that is replayed. Thread: its worker's; the store is read by the reader pool.
#pragma once

#include <cstdint>
#include <string>

#include "daemon/exchange/exchange.h"
#include "daemon/modes/grpc_item.h"
#include "daemon/modes/segment_reader.h"

namespace tapdeck::modes {

class GrpcBytes {
 public:
  // Both must outlive it.
  GrpcBytes(const store::ExchangeStore& store, net::ThreadPool& readers) : reader_(store, readers) {}

  // `length` bytes of the item's response body from `offset`. Errors: those of the store and of the exchange.
  net::Task<Result<void>> send(exchange::Exchange& exchange, const GrpcItem& item, uint64_t offset, uint64_t length);
  // The next item is another.
  void forget() {
    index_ = SIZE_MAX;
    reader_.forget();
  }
  // Nothing is sent for a while: what is deleted meanwhile need not stay on the disk.
  void pause() { reader_.forget(); }

 private:
  SegmentReader reader_;
  std::string segment_;
  size_t index_ = SIZE_MAX;  // of that segment in the body
};

}  // namespace tapdeck::modes
