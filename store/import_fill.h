// Filling a hidden session with what an import reads: bodies and recordings, in batches of some megabytes, whatever is
// longer. Internal to store/.
//
// A body that does not fit into one batch is written ahead of its recording as a body that is being recorded is: a
// begun recording and its segments, which a crash leaves to the next open. Owner: one import. Thread: its own.
#pragma once

#include <cstdint>
#include <vector>

#include "store/exchange_store.h"
#include "store/recording_builder.h"

namespace tapdeck::store {

class ImportFill {
 public:
  ImportFill(ExchangeStore& store, uint32_t session_number) : store_(store), session_number_(session_number) {}

  // A body segment of the recording that comes next.
  Result<void> add(PendingWrite::Blob&& blob);
  // A recording, whose segments were all added by now.
  Result<void> add(PendingWrite&& recording);
  // Writes what is not written yet.
  Result<void> flush();
  // Takes back what was written ahead of a recording that does not come, or whose end could not be written.
  void give_up();

 private:
  // A recording of which some is written, or in the batch.
  struct Begun {
    uint64_t id = 0;            // 0: none
    std::vector<Digest> ahead;  // its segments
  };
  [[nodiscard]] PendingWrite step(PendingWrite::Step step) const;

  ExchangeStore& store_;
  const uint32_t session_number_;
  std::vector<PendingWrite> batch_;
  size_t batch_bytes_ = 0;  // of the batch and of the blobs
  Begun ended_;             // its end is in the batch
  // Of the recording that comes next.
  std::vector<PendingWrite::Blob> blobs_;  // not written yet
  Begun next_;
  uint32_t parts_ = 0;
};

}  // namespace tapdeck::store
