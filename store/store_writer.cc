#include "store/store_writer.h"

#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <unordered_set>
#include <utility>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/threads.h"
#include "store/owed_space.h"
#include "store/withdrawals.h"

namespace tapdeck::store {
namespace {

// One RocksDB write takes at most this much, so that the first in line does not wait for a whole full queue.
constexpr size_t kBatchBytes = 2 << 20;
constexpr auto kAgeCheck = std::chrono::seconds(10);
constexpr auto kDeletedCheck = std::chrono::seconds(1);  // whether another thread deleted something; a flag
constexpr auto kPause = std::chrono::milliseconds(100);
constexpr auto kQuiet = std::chrono::seconds(10);  // nothing was written for so long
constexpr auto kRetry = std::chrono::seconds(1);   // of all that could not be taken back yet
constexpr uint64_t kPrunedAtOnce = 1000;           // what ExchangeStore::prune() removes at most
// Nobody waits for what is written asynchronously: it is gathered for this long, or until there is this much.
constexpr auto kGather = std::chrono::milliseconds(2);
constexpr size_t kGatherBytes = 256 << 10;
// Written hand-overs that wait for the next submit() to free them: at most 4 MiB.
constexpr size_t kSpares = 16;
constexpr size_t kSpareBytes = 256 << 10;

// What takes back, of recordings whose end was refused, the parts handed over before: without them they would stay,
// and the next start would make recordings of them. Small, and at most one a long recording: no bound holds for them.
std::vector<PendingWrite> abandons_of(const std::vector<PendingWrite>& refused) {
  using Step = PendingWrite::Step;
  std::vector<PendingWrite> abandons;
  for (const PendingWrite& write : refused) {
    const bool ends = write.step == Step::Finish || write.step == Step::Abandon;
    if (!ends || !write.was_begun) continue;
    PendingWrite& abandon = abandons.emplace_back();
    abandon.step = Step::Abandon;
    abandon.was_begun = true;
    abandon.session_number = write.session_number;
    abandon.take = write.take;
    abandon.id = write.id;
    abandon.references = write.references;
  }
  return abandons;
}

size_t memory_of(const std::vector<PendingWrite>& writes) {
  size_t bytes = 0;
  for (const PendingWrite& write : writes) bytes += write.memory();
  return bytes;
}

}  // namespace

struct StoreWriter::Impl {
  // One submit(): its answer is due when its last write is in.
  struct Handover {
    std::vector<PendingWrite> writes;
    Completion* completion = nullptr;
    uint64_t token = 0;
    size_t bytes = 0;
  };

  ExchangeStore& store;
  const WriterOptions options;
  mutable std::mutex mutex;
  std::condition_variable work, progress;
  std::vector<Handover> queue;                   // mutex
  std::vector<std::vector<PendingWrite>> spare;  // mutex; written, given back to callers to be freed and used again
  std::vector<PendingWrite*> merged;             // the thread's own
  struct Lost {
    size_t handover;
    uint64_t recording;
    NotKept why;
  };
  std::vector<Lost> lost;                             // the thread's own
  std::unordered_set<uint64_t> torn;                  // the thread's own: recordings of which a part was not written
  bool is_misplaced = false;                          // the thread's own: the directory is not where its path says
  PruneCounts untold;                                 // the thread's own: not in the log yet
  std::chrono::steady_clock::time_point next_told{};  // the thread's own
  std::unordered_set<uint64_t> withdrawn;             // mutex: recordings to be taken back, written or not
  std::vector<uint64_t> to_take_back;                 // mutex: those of them that the thread has not looked at
  Withdrawals noted;                                  // of `withdrawn`
  WriterStats stats;                                  // mutex
  const bool gathers;                                 // durability "async"
  int flushing = 0;                                   // mutex; callers of flush()
  uint64_t submitted = 0;                             // mutex: hand-overs and withdrawals
  uint64_t settled = 0;                               // mutex: of these, the first so many are dealt with and answered
  bool stopping = false;                              // mutex
  std::thread thread;

  Impl(ExchangeStore& target, WriterOptions writer_options)
      : store(target),
        options(writer_options),
        noted(target.options().path),
        gathers(target.options().durability == Durability::Async) {
    // Where it was opened on a full disk.
    to_take_back = Withdrawals::left(target.options().path);
    withdrawn.insert(to_take_back.begin(), to_take_back.end());
    submitted = to_take_back.size();
  }

  void run() {
    std::vector<Handover> taken;
    std::vector<uint64_t> due;  // withdrawn, and submitted before what is taken now or with it
    uint64_t last = 0;          // the number of the last that was taken
    auto next_prune = std::chrono::steady_clock::now();
    auto next_look = next_prune;
    auto next_retry = next_prune;
    auto wake = next_prune;  // without work: to look at the bounds again
    auto next_trim = std::chrono::steady_clock::time_point::max();
    while (true) {
      {
        std::unique_lock guard(mutex);
        if (std::exchange(settled, last) != last) progress.notify_all();
        work.wait_until(guard, std::min(wake, std::chrono::steady_clock::now() + kDeletedCheck),
                        [this] { return stopping || !to_take_back.empty() || !queue.empty(); });
        if (gathers && !queue.empty()) {
          work.wait_for(guard, kGather,
                        [this] { return stopping || flushing > 0 || stats.queued_bytes >= kGatherBytes; });
        }
        if (queue.empty() && to_take_back.empty() && stopping) return;
        taken.swap(queue);
        last = submitted;
        due = std::exchange(to_take_back, {});
        if (const auto now = std::chrono::steady_clock::now(); now >= next_retry) {
          due.assign(withdrawn.begin(), withdrawn.end());
          next_retry = now + kRetry;
        }
      }
      const bool wrote = !taken.empty();
      if (const auto now = std::chrono::steady_clock::now(); now >= next_look) {
        ignore(look_at_place(), "said in the log; what is handed over from now on fails");
        next_look = now + kPause;
      }
      write_all(taken);
      taken.clear();
      if (!due.empty()) take_back(due);
      // Looking at the bounds costs two sums over the sessions; enough of it between batches of a loaded writer.
      const auto now = std::chrono::steady_clock::now();
      if (wrote) next_trim = now + kQuiet;
      if (now >= next_trim) {
        ::malloc_trim(0);  // what the last recordings took goes back to the kernel
        next_trim = std::chrono::steady_clock::time_point::max();
      }
      if (now >= next_prune && (wrote || now >= wake || owes_space(store))) {
        const auto counts = store.prune(unix_now_us());
        if (counts) tell_pruned(*counts, now);
        const bool more = counts && counts->by_age + counts->by_bytes + counts->by_count >= kPrunedAtOnce;
        next_prune = more ? now : now + kPause;
        wake = more ? now : now + kAgeCheck;
      } else if (wrote) {
        wake = next_prune;
      }
    }
  }

  // At once, then what came together since: a store at its bound is pruned with every batch.
  void tell_pruned(const PruneCounts& counts, std::chrono::steady_clock::time_point now) {
    untold.by_bytes += counts.by_bytes;
    untold.by_count += counts.by_count;
    untold.by_age += counts.by_age;
    if (untold.by_bytes + untold.by_count + untold.by_age == 0 || now < next_told) return;
    next_told = now + kAgeCheck;
    log::info("store.pruned", "the oldest recordings were removed, as storage.max_* says",
              {{"max_bytes", untold.by_bytes}, {"max_recordings", untold.by_count}, {"max_age", untold.by_age}});
    untold = {};
  }

  void write_all(std::vector<Handover>& taken) {
    size_t first = 0;
    while (first < taken.size()) {
      merged.clear();
      size_t bytes = 0;
      size_t last = first;
      for (; last < taken.size() && (last == first || bytes + taken[last].bytes <= kBatchBytes); ++last) {
        bytes += taken[last].bytes;
        for (auto& write : taken[last].writes) merged.push_back(&write);
      }
      lost.clear();
      if (!torn.empty()) give_up_torn(taken, first, last);
      end_withdrawn();
      Result<void> result = is_misplaced ? look_at_place() : Result<void>{};
      if (result) result = store.write(merged, store.options().durability);
      if (!result) note_torn();
      const auto finished = std::ranges::count_if(merged, [](const PendingWrite* write) {
        return write->step == PendingWrite::Step::Finish && !write->dropped;
      });
      const auto notes = std::ranges::count(merged, PendingWrite::Step::Origin, &PendingWrite::step) +
                         std::ranges::count(merged, PendingWrite::Step::Note, &PendingWrite::step);
      for (size_t i = first; i < last; ++i) {
        for (const auto& write : taken[i].writes) {
          if (write.dropped) lost.push_back({i, write.id, NotKept::SessionDeleted});
        }
        if (taken[i].bytes > kSpareBytes) taken[i].writes.clear();
      }
      account(taken, first, last, {static_cast<uint64_t>(finished), static_cast<uint64_t>(notes)}, result, bytes);
      for (; first < last; ++first) {
        Completion* completion = taken[first].completion;
        if (completion == nullptr) continue;
        for (const Lost& one : lost) {
          if (result && one.handover == first) completion->dropped(taken[first].token, one.recording, one.why);
        }
        completion->written(taken[first].token, result);
      }
    }
  }

  // mutex held. Nobody is told.
  void queue_alone(std::vector<PendingWrite> writes) {
    const size_t bytes = memory_of(writes);
    stats.queued_bytes += bytes;
    queue.push_back({std::move(writes), nullptr, 0, bytes});
    ++submitted;
    work.notify_one();
  }

  // Its segments are handed over once: without one of them the recording could not be replayed.
  void note_torn() {
    using Step = PendingWrite::Step;
    for (const PendingWrite* write : merged) {
      if (write->step == Step::Segment) torn.insert(write->id);
      if (write->step == Step::Finish || write->step == Step::Abandon) torn.erase(write->id);
    }
    forget_unwritten();
  }

  // Nothing of them is there that could be taken back.
  void forget_unwritten() {
    using Step = PendingWrite::Step;
    const std::lock_guard guard(mutex);
    if (withdrawn.empty()) return;
    for (const PendingWrite* write : merged) {
      const bool ends = write->step == Step::Finish || write->step == Step::Abandon;
      if (ends && !write->was_begun) withdrawn.erase(write->id);
    }
    forget_settled();
  }

  void give_up_torn(std::vector<Handover>& taken, size_t first, size_t last) {
    using Step = PendingWrite::Step;
    for (size_t i = first; i < last; ++i) {
      for (PendingWrite& write : taken[i].writes) {
        if (write.step != Step::Finish && write.step != Step::Abandon) continue;
        if (torn.erase(write.id) == 0 || write.step == Step::Abandon) continue;
        write.step = Step::Abandon;
        write.blobs.clear();
        lost.push_back({i, write.id, NotKept::PartMissing});
      }
    }
  }

  // Of what is about to be written. They are settled once that is done: take_back().
  void end_withdrawn() {
    const std::lock_guard guard(mutex);
    if (withdrawn.empty()) return;
    for (PendingWrite* write : merged) {
      if (write->step != PendingWrite::Step::Finish || !withdrawn.contains(write->id)) continue;
      write->step = PendingWrite::Step::Abandon;
      write->blobs.clear();
    }
  }

  // What is there of them. What fails is tried again, all of it together.
  void take_back(std::vector<uint64_t>& recordings) {
    {
      const std::lock_guard guard(mutex);
      std::erase_if(recordings, [this](uint64_t one) { return !withdrawn.contains(one); });
    }
    const auto gone = store.withdraw(recordings);
    if (!gone) return;
    const std::lock_guard guard(mutex);
    for (const uint64_t recording : recordings) withdrawn.erase(recording);
    forget_settled();
  }

  // mutex held.
  void forget_settled() {
    if (withdrawn.empty()) noted.settle();
  }

  Result<void> look_at_place() {
    auto place = store.check_place();
    if (place && std::exchange(is_misplaced, false)) {
      log::warn("store.back", "the store is again where it was opened; recording goes on",
                {{"store", store.options().path}});
    }
    if (!place && !std::exchange(is_misplaced, true)) log::error("store.gone", place.error().message());
    return place;
  }

  struct Kept {
    uint64_t recordings, notes;
  };
  void account(std::vector<Handover>& taken, size_t first, size_t last, Kept kept, const Result<void>& result,
               size_t bytes) {
    const std::lock_guard guard(mutex);
    stats.queued_bytes -= bytes;
    ++stats.batches;
    if (result) {
      stats.recordings += kept.recordings;
      stats.notes += kept.notes;
    } else {
      stats.failed += last - first;
    }
    for (size_t i = first; i < last && spare.size() < kSpares; ++i) spare.push_back(std::move(taken[i].writes));
  }
};

Result<std::unique_ptr<StoreWriter>> StoreWriter::start(ExchangeStore& store, WriterOptions options) {
  if (store.access() != Access::ReadWrite) {
    return fail(Code::Permission, "store " + store.options().path + " is open for reading only", Origin::Store);
  }
  auto impl = std::make_unique<Impl>(store, options);
  Impl* raw = impl.get();
  TRY(thread, start_thread([raw] { raw->run(); }));
  raw->thread = std::move(thread);
  return std::unique_ptr<StoreWriter>(new StoreWriter(std::move(impl)));
}

StoreWriter::StoreWriter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

StoreWriter::~StoreWriter() {
  {
    const std::lock_guard guard(impl_->mutex);
    impl_->stopping = true;
  }
  impl_->work.notify_one();
  impl_->thread.join();
  impl_->next_told = {};
  impl_->tell_pruned({}, std::chrono::steady_clock::now());
}

Result<void> StoreWriter::submit(std::vector<PendingWrite>& writes, Completion* completion, uint64_t token,
                                 SpareWrites* spares) {
  const size_t bytes = memory_of(writes);
  bool is_due = false;
  {
    const std::lock_guard guard(impl_->mutex);
    if (impl_->stats.queued_bytes + bytes > impl_->options.queue_bytes) {
      ++impl_->stats.refused;
      auto refused =
          fail(Code::Exhausted,
               "the store cannot keep up: " + std::to_string(impl_->stats.queued_bytes) + " bytes wait for the disk",
               Origin::Store);
      if (auto abandons = abandons_of(writes); !abandons.empty()) impl_->queue_alone(std::move(abandons));
      return refused;
    }
    const size_t before = impl_->stats.queued_bytes;
    impl_->stats.queued_bytes += bytes;
    is_due = impl_->queue.empty() || (before < kGatherBytes && before + bytes >= kGatherBytes);
    impl_->queue.push_back({std::move(writes), completion, token, bytes});
    ++impl_->submitted;
    if (impl_->spare.empty()) {
      writes = {};
    } else {
      writes = std::move(impl_->spare.back());
      impl_->spare.pop_back();
    }
  }
  if (is_due) impl_->work.notify_one();
  if (spares != nullptr) spares->give_back(writes);
  writes.clear();
  return {};
}

void StoreWriter::withdraw(uint64_t recording) {
  {
    const std::lock_guard guard(impl_->mutex);
    impl_->withdrawn.insert(recording);
    impl_->to_take_back.push_back(recording);
    ++impl_->submitted;
    impl_->noted.note(recording);
  }
  impl_->work.notify_one();
}

void StoreWriter::flush() {
  std::unique_lock guard(impl_->mutex);
  ++impl_->flushing;
  impl_->work.notify_one();
  impl_->progress.wait(guard, [this, last = impl_->submitted] { return impl_->settled >= last; });
  --impl_->flushing;
}

WriterStats StoreWriter::stats() const {
  const std::lock_guard guard(impl_->mutex);
  return impl_->stats;
}

}  // namespace tapdeck::store
