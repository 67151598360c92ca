#include "store/digest_memo.h"

#include <cstring>

namespace tapdeck::store {
namespace {

uint64_t eight_bytes(const char* at) {
  uint64_t out = 0;
  std::memcpy(&out, at, sizeof out);
  return out;
}

// Of length, beginning, middle and end: enough to keep different bodies apart; equality is decided by comparing.
size_t slot_of(std::string_view bytes, size_t slots) {
  const char* data = bytes.data();
  const size_t size = bytes.size();
  uint64_t mixed = size;
  for (const size_t at : {size_t{0}, size / 2, size - sizeof mixed})
    mixed = (mixed ^ eight_bytes(data + at)) * 0x9e3779b97f4a7c15;
  return static_cast<size_t>(mixed >> 32) % slots;
}

}  // namespace

Digest DigestMemo::of(std::string_view bytes) {
  if (bytes.size() < 2 * sizeof(uint64_t) || bytes.size() > kLongest) return content_digest(bytes);
  Slot& slot = slots_[slot_of(bytes, slots_.size())];
  if (slot.bytes != bytes) {
    slot.bytes = bytes;
    slot.digest = content_digest(bytes);
  }
  return slot.digest;
}

}  // namespace tapdeck::store
