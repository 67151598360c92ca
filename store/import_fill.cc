#include "store/import_fill.h"

#include <utility>

#include "store/record_codec.h"

namespace tapdeck::store {
namespace {

constexpr size_t kBatchBytes = 8 << 20;
// What a step takes beside its bytes: a file may be nothing but bodies of one byte.
constexpr size_t kStepBytes = 1024;

}  // namespace

PendingWrite ImportFill::step(PendingWrite::Step step) const {
  PendingWrite write;
  write.step = step;
  write.session_number = session_number_;
  write.id = next_.id;
  return write;
}

Result<void> ImportFill::add(PendingWrite::Blob&& blob) {
  batch_bytes_ += blob.bytes->size() + kStepBytes;
  blobs_.push_back(std::move(blob));
  return batch_bytes_ < kBatchBytes ? Result<void>{} : flush();
}

Result<void> ImportFill::add(PendingWrite&& recording) {
  recording.session_number = session_number_;
  recording.was_begun = next_.id != 0;
  recording.id = recording.was_begun ? next_.id : store_.allocate_id();
  recording.blobs = std::exchange(blobs_, {});
  if (recording.was_begun) ended_ = std::exchange(next_, {});
  batch_bytes_ += recording.encoded.size() + kStepBytes;
  batch_.push_back(std::move(recording));
  return batch_bytes_ < kBatchBytes ? Result<void>{} : flush();
}

Result<void> ImportFill::flush() {
  if (!blobs_.empty() && next_.id == 0) {
    next_.id = store_.allocate_id();
    parts_ = 0;
    PendingWrite begin = step(PendingWrite::Step::Begin);
    encode_record(Recording{}, begin.encoded);
    batch_.push_back(std::move(begin));
  }
  for (auto& blob : blobs_) {
    PendingWrite segment = step(PendingWrite::Step::Segment);
    segment.part = parts_++;
    next_.ahead.push_back(blob.segment.digest);
    segment.blobs.push_back(std::move(blob));
    batch_.push_back(std::move(segment));
  }
  blobs_.clear();
  batch_bytes_ = 0;
  if (batch_.empty()) return {};
  auto written = store_.write(batch_, Durability::Wal);
  batch_.clear();
  if (written) ended_ = {};
  return written;
}

void ImportFill::give_up() {
  std::vector<PendingWrite> writes;
  for (Begun* begun : {&ended_, &next_}) {
    if (begun->id == 0) continue;
    PendingWrite& abandon = writes.emplace_back(step(PendingWrite::Step::Abandon));
    abandon.id = begun->id;
    abandon.was_begun = true;
    abandon.references = std::move(begun->ahead);
    *begun = {};
  }
  if (!writes.empty()) ignore(store_.write(writes, Durability::Wal), "the next open takes it back");
}

}  // namespace tapdeck::store
