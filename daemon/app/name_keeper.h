// NameKeeper: puts what resolvers answered into sessions: each answer once, and none that says less than the one
// before. What could not be written is counted, and written when it is asked for again.
//
// Owner: the NameService. Thread: any.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "daemon/base/result.h"
#include "daemon/names/lookup.h"
#include "store/exchange_store.h"
#include "store/record.h"
#include "store/store_writer.h"

namespace tapdeck::app {

// A crawler's names would fill the disk, and memory, unseen by what bounds recordings.
struct NameBounds {
  size_t names = 200'000;  // different ones and types of a take; others are not kept, which the log says once
  // Takes of which is known what they have, more than there are targets; and names of them all together. Then the take
  // that was longest not added to is forgotten: what its names answer is written anew.
  size_t takes = 64, noted = 1'000'000;
};

class NameKeeper final : private store::Completion {
 public:
  // Both outlive this. No writer: nothing is kept. No tape: it is not seen, since the writer's store is merged into it
  // later.
  NameKeeper(const store::ExchangeStore* tape, store::StoreWriter* writer, NameBounds bounds = {})
      : tape_(tape), writer_(writer), bounds_(bounds) {}
  // Waits until what was handed over is written, or has failed.
  ~NameKeeper();
  NameKeeper(const NameKeeper&) = delete;
  NameKeeper& operator=(const NameKeeper&) = delete;

  // `take` 0: nothing is. What is no whole answer (nobody answered, a resolver failed, a truncated one) is kept only
  // where it says more than what is on tape, of whatever take, for which it reads the store: as of recordings, the
  // newest that is complete counts. Nor is an answer written again that says what the last one of its take said,
  // whatever its order and TTLs.
  void keep(const store::Take& take, const names::Lookup& lookup);

  // Lookups of which what became is not on tape: the store refused it or failed, or there were too many names.
  [[nodiscard]] uint64_t lost() const;

 private:
  enum class Worth : uint8_t { Failure, Truncated, Whole };
  struct Noted {
    Worth worth = Worth::Failure;
    size_t says = 0;     // a hash of its answer without order and TTLs
    uint64_t token = 0;  // of the hand-over that has it
  };
  using TakeId = std::pair<uint32_t, uint64_t>;       // session, take
  using Question = std::pair<std::string, uint16_t>;  // name, type
  struct OfTake {
    std::map<Question, Noted> noted;
    uint64_t last_used = 0;
    bool is_full = false;
  };
  struct HandedOver {
    TakeId take;
    Question question;
  };

  void written(uint64_t token, const Result<void>& result) override;
  [[nodiscard]] static Worth worth_of(const names::Lookup& lookup);
  [[nodiscard]] static Noted note_of(const names::Lookup& lookup);
  // Than what is on tape.
  [[nodiscard]] bool is_better(Worth worth, const store::Take& take, const names::Lookup& lookup) const;
  // The token to hand it over with; 0: it is not to be written.
  [[nodiscard]] uint64_t note(const store::Take& take, const names::Lookup& lookup, Noted now);
  // What is worth as much is noted of the take.
  [[nodiscard]] bool is_noted(const store::Take& take, const names::Lookup& lookup, const Noted& now) const;
  // `mutex_` is held in these.
  [[nodiscard]] OfTake& of(const TakeId& take);
  void forget_oldest(const TakeId& but);
  [[nodiscard]] bool is_news(OfTake& known, const Question& question, const Noted& now);

  const store::ExchangeStore* const tape_;
  store::StoreWriter* const writer_;
  const NameBounds bounds_;
  mutable std::mutex mutex_;  // the rest
  std::map<TakeId, OfTake> takes_;
  size_t noted_ = 0;                            // in all of them
  std::map<uint64_t, HandedOver> handed_over_;  // by token
  uint64_t last_token_ = 0;
  uint64_t lost_ = 0;
  bool is_failing_ = false;  // the store, which the log has said
};

}  // namespace tapdeck::app
