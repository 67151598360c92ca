// Journal: what a recording that is still being made has to say between two body segments: messages, and the bytes of
// both bodies that no segment holds yet. Rows of it outlive a crash and are gone when the recording is finished.
//
// Pure encoding and merging; who writes rows and when is recording_builder's. Internal to store/. Thread: any.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/result.h"
#include "store/record.h"

namespace tapdeck::store {

struct JournalEntry {
  std::vector<Message> messages;
  uint64_t offset[2] = {0, 0};  // by side: where in the body the bytes belong
  std::string bytes[2];
};

void encode_journal(const JournalEntry& entry, std::string& out);
// Error Corrupt.
[[nodiscard]] Result<JournalEntry> decode_journal(std::string_view bytes);

// Puts entries, in the order they were written, behind the segments that made it to the store.
class JournalMerge {
 public:
  void add(JournalEntry entry);
  // The bytes of that side's body from `size` on, which its segments reach.
  [[nodiscard]] std::string tail(BodySide side, uint64_t size) const;
  // The messages that bodies of these sizes hold whole.
  [[nodiscard]] std::vector<Message> messages(uint64_t request_size, uint64_t response_size) const;

 private:
  std::vector<JournalEntry> entries_;
};

}  // namespace tapdeck::store
