// StoreLink: a worker's end of the queue to the store. Hands over, once a loop turn, what its exchanges finished, and
// wakes each exchange when its recording is as safe as storage.durability promises.
//
// Not the writer (store/store_writer). Owner: the worker; outlives every submission: call close() before destruction.
// Thread: its worker's, but for written(), which the writer thread calls.
#pragma once

#include <chrono>
#include <cstdint>
#include <list>
#include <mutex>
#include <vector>

#include "daemon/base/metrics.h"
#include "daemon/net/task.h"
#include "store/store_writer.h"

namespace tapdeck::modes {

enum class Hold { UntilWritten, No };

struct StoreLinkOptions {
  Hold hold = Hold::UntilWritten;  // No: durability "async"
  std::chrono::milliseconds hold_limit{1000};
  Histogram commit_histogram = Histogram::CommitWal;
};

class StoreLink final : public store::Completion {
 public:
  StoreLink(asio::any_io_executor executor, store::StoreWriter& writer, Metrics& metrics, StoreLinkOptions options);

  // Queues writes for the end of this loop turn; empties the vector.
  void add(std::vector<store::PendingWrite>& writes);
  // Queues the last writes of a recording and returns when they are safe (at once with Hold::No). Errors: Timeout
  // (hold_limit passed; counted), Exhausted (queue full), NoSpace, Io: the recording is lost or may be.
  net::Task<Result<void>> commit(std::vector<store::PendingWrite>& writes);
  [[nodiscard]] const asio::any_io_executor& executor() const { return executor_; }
  [[nodiscard]] Metrics& metrics() { return metrics_; }
  // No callback comes after this returns.
  void close();

  void written(uint64_t token, const Result<void>& result) override;

 private:
  struct Waiter {
    explicit Waiter(const asio::any_io_executor& executor) : timer(executor) {}
    asio::steady_timer timer;
    uint64_t batch = 0;
    bool done = false;
    Result<void> result;
  };
  struct Answer {
    uint64_t token;
    Result<void> result;
  };
  void schedule();
  void hand_over();
  void take_answers();

  asio::any_io_executor executor_;
  store::StoreWriter& writer_;
  Metrics& metrics_;
  StoreLinkOptions options_;
  std::vector<store::PendingWrite> turn_;  // collected this loop turn
  std::list<Waiter*> waiters_;
  uint64_t batch_ = 1;
  bool scheduled_ = false;

  std::mutex mutex_;  // answers_ and posted_: shared with the writer thread
  std::vector<Answer> answers_;
  bool posted_ = false;
};

}  // namespace tapdeck::modes
