// StoreWriter: the one thread that writes recordings. Workers hand over what a loop turn finished; whatever is queued
// when the thread comes round goes into one RocksDB write, and each hand-over gets one answer.
//
// Not the promise to the client: how long a response waits for its answer is the recording mode's (hold_limit).
// Owner: app, destroyed before its store; the destructor writes what is queued. Thread: submit() from any.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "daemon/base/result.h"
#include "store/exchange_store.h"
#include "store/recording_builder.h"

namespace tapdeck::store {

enum class NotKept {
  SessionDeleted,
  PartMissing,  // a part of it was in a hand-over before that failed
};

// Told when a hand-over is as durable as configured, or has failed. Called on the writer thread, in order of
// submission: post to your own loop and return. Must outlive every submission that names it.
class Completion {
 public:
  virtual void written(uint64_t token, const Result<void>& result) = 0;
  // Before written() of its hand-over, which was written else: this recording was not kept.
  virtual void dropped(uint64_t /*token*/, uint64_t /*recording*/, NotKept /*why*/) {}

 protected:
  ~Completion() = default;
};

struct WriterOptions {
  size_t queue_bytes = 64ull << 20;  // memory of recordings waiting; beyond it submit() answers Exhausted
};

struct WriterStats {
  uint64_t recordings = 0, batches = 0, failed = 0, refused = 0;  // failed and refused count hand-overs
  uint64_t notes = 0;                                             // of origins and names, in no recording
  uint64_t queued_bytes = 0;
};

class StoreWriter {
 public:
  // `store` must be open for writing and outlive this. What a process before had withdrawn is taken back here where
  // opening could not, for the disk was full.
  [[nodiscard]] static Result<std::unique_ptr<StoreWriter>> start(ExchangeStore& store, WriterOptions options = {});
  ~StoreWriter();
  StoreWriter(const StoreWriter&) = delete;
  StoreWriter& operator=(const StoreWriter&) = delete;

  // Queues `writes` and empties the vector. What earlier hand-overs were made of is given to `spares`, or freed here,
  // by the thread that allocated it: memory freed on another thread costs an allocator several times as much.
  // `completion` may be null. Error Exhausted: the queue is full, nothing was taken, the vector is as it was. The
  // recordings that end in it and of which a part was handed over before are given up.
  [[nodiscard]] Result<void> submit(std::vector<PendingWrite>& writes, Completion* completion, uint64_t token,
                                    SpareWrites* spares = nullptr);
  // Takes a recording back whose end was submitted before: it stays unwritten, or is removed as soon as it is written,
  // also when this process is killed meanwhile. Never waits. Completions are told as if it were kept.
  void withdraw(uint64_t recording);
  // Blocks until everything submitted before is written or failed, and answered, and what was withdrawn before is gone.
  // What others submit meanwhile is not waited for. For whoever ends (the daemon, and each worker while others go on)
  // and for tests; never in between, since the disk may take its time.
  void flush();
  [[nodiscard]] WriterStats stats() const;

 private:
  struct Impl;
  explicit StoreWriter(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tapdeck::store
