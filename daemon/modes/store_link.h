// StoreLink: a worker's end of the queue to the store. Hands over, once a loop turn, what its exchanges finished, and
// wakes each exchange when its recording is as safe as storage.durability promises.
//
// Not the writer (store/store_writer). Owner: the worker; outlives every submission: call close() before destruction.
// Thread: its worker's, but for written(), which the writer thread calls.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <mutex>
#include <unordered_set>
#include <vector>

#include "daemon/base/metrics.h"
#include "daemon/net/deadline.h"
#include "daemon/net/suspend.h"
#include "store/store_writer.h"

namespace tapdeck::modes {

enum class Hold { UntilWritten, No };

struct StoreLinkOptions {
  Hold hold = Hold::UntilWritten;  // No: durability "async"
  std::chrono::milliseconds hold_limit{1000};
  Histogram commit_histogram = Histogram::CommitWal;
  std::chrono::milliseconds beat{250};  // how often what is watched is told
};

class StoreLink final : public store::Completion {
 public:
  StoreLink(asio::any_io_executor executor, store::StoreWriter& writer, Metrics& metrics, StoreLinkOptions options);

  // Queues writes for the end of this loop turn; empties the vector. A recording that ends in them and is then not kept
  // is counted and in the log.
  void add(std::vector<store::PendingWrite>& writes);
  // Queues the last writes of a recording and returns when they are safe (at once with Hold::No). Errors: Timeout
  // (hold_limit passed; counted: it may be kept all the same, later), Exhausted (queue full), NoSpace, Io: the
  // recording is lost, or too late, which the caller tells (lose()). Cancelled: it goes on alone, as by add().
  net::Task<Result<void>> commit(std::vector<store::PendingWrite>& writes);
  // Takes a recording back that commit() has called unsafe and whose client was therefore not given the end of it: the
  // store may come to it later all the same.
  void withdraw(uint64_t recording);
  // Less than kInFlight bytes of this worker's wait for the store. Long bodies ask, so that a body of any length passes
  // through bounded memory and none of its segments is refused by a full queue.
  [[nodiscard]] bool has_room() const { return in_flight_ < kInFlight; }
  // Returns when there is room. Error Timeout after hold_limit: the store stands still, go on without it.
  net::Task<Result<void>> room();
  // The store refused a part of this recording, which still goes on: what it ends with is not whole. Until its last
  // writes are queued.
  [[nodiscard]] bool was_refused(uint64_t recording) const { return refused_.contains(recording); }
  [[nodiscard]] const asio::any_io_executor& executor() const { return executor_; }
  [[nodiscard]] Metrics& metrics() { return metrics_; }
  // What was written, for the next recordings.
  [[nodiscard]] store::SpareWrites& spares() { return spares_; }
  // Counts recordings that are not kept, and why: each once.
  void lose(const Error& why, uint64_t recordings = 1);
  // No callback comes after this returns.
  void close();

  void written(uint64_t token, const Result<void>& result) override;
  void dropped(uint64_t token, uint64_t recording, store::NotKept why) override;

  // Something that may live long and then has to be saved meanwhile: told of every beat from watch() until it is gone.
  class Watched {
   public:
    Watched() = default;
    Watched(const Watched&) = delete;
    Watched& operator=(const Watched&) = delete;
    virtual void on_beat() = 0;

   protected:
    ~Watched() { unlink(); }

   private:
    friend class StoreLink;
    void unlink();
    Watched* previous_ = nullptr;
    Watched* next_ = nullptr;
  };
  // One timer for all of them, and none while there are none: a short exchange costs an entry in a list.
  void watch(Watched& one);

 private:
  using Clock = net::Deadline::Clock;
  struct Waiter {
    uint64_t batch = 0;
    uint64_t number = 0;
    uint64_t recording = 0;
    bool ends = false;  // the recording does, in that batch
    Clock::time_point began;
    net::Resume<Result<void>> resume;
  };
  // 16 segments, 4 MiB: enough to keep the writer busy, and eight workers fit its queue (WriterOptions::queue_bytes).
  static constexpr uint64_t kInFlight = 4ULL << 20;
  struct Handed {
    uint64_t token;
    uint64_t bytes;
    uint64_t alone;  // recordings that end in it and that nobody waits for
  };
  struct Answer {
    uint64_t token;
    Result<void> result;
    bool is_refusal = false;  // of this hand-over alone: those before it are still to be answered by the writer
  };
  struct Told {
    uint64_t batch;
    uint64_t recording;
  };
  struct Dropped {
    uint64_t token;
    uint64_t recording;
    store::NotKept why;
  };
  void schedule();
  void hand_over();
  void forget_ended();  // of the recordings whose last writes are in turn_
  void take_answers();
  void post_answer(Answer answer);
  void close_accounts(const Answer& answer);                        // of the hand-overs that it answers
  void answer(uint64_t token, const Result<void>& result);          // whoever waits for this hand-over or one before it
  void answer_refused(uint64_t token, const Result<void>& result);  // whoever waits for this one
  void beat();
  net::Task<Result<void>> wait_for_answer(uint64_t recording, bool ends);
  [[nodiscard]] uint64_t* alone_in(uint64_t batch);
  void give_up(uint64_t number);  // cancelled: the recording goes on without its exchange
  void expire();                  // whoever waited for hold_limit
  void answer_front(Result<void> result);
  void answer_one(std::deque<Waiter>::iterator which, Result<void> result);

  asio::any_io_executor executor_;
  store::StoreWriter& writer_;
  Metrics& metrics_;
  StoreLinkOptions options_;
  std::vector<store::PendingWrite> turn_;  // collected this loop turn
  store::SpareWrites spares_;
  std::deque<Waiter> waiters_;  // in the order of batch and of time
  net::Deadline hold_;          // of the first
  uint64_t batch_ = 1;
  uint64_t next_waiter_ = 1;
  uint64_t awaited_ = 0;  // recordings that end in turn_ and that somebody waits for, or has told of
  bool scheduled_ = false;
  std::deque<Handed> handed_;  // not answered yet
  uint64_t in_flight_ = 0;
  std::unordered_set<uint64_t> refused_;  // recordings under way that have lost a part
  net::Signal room_{executor_};

  struct Ring final : Watched {
    void on_beat() override {}
  };
  Ring watched_;               // the start of a ring
  std::vector<Dropped> gone_;  // not told yet
  std::vector<Told> told_;     // that their end came too late: what becomes of it is no second loss
  net::Deadline beat_;
  bool beats_ = false;

  std::mutex mutex_;  // what follows: shared with the writer thread
  std::vector<Answer> answers_;
  std::vector<Dropped> dropped_;
  bool posted_ = false;
};

// Why a recording of which a part was_refused() is not kept.
[[nodiscard]] Error refused_part();

}  // namespace tapdeck::modes
