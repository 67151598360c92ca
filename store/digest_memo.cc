#include "store/digest_memo.h"

#include <cstring>
#include <utility>

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

bool is_kept(std::string_view bytes) {
  return bytes.size() >= 2 * sizeof(uint64_t) && bytes.size() <= DigestMemo::kLongest;
}

}  // namespace

HashedBody hashed(std::string bytes) {
  const Digest digest = content_digest(bytes);
  return {std::make_shared<const std::string>(std::move(bytes)), digest};
}

const HashedBody* DigestMemo::find(std::string_view bytes) const {
  if (!is_kept(bytes)) return nullptr;
  const HashedBody& slot = slots_[slot_of(bytes, slots_.size())];
  return slot.bytes != nullptr && *slot.bytes == bytes ? &slot : nullptr;
}

HashedBody DigestMemo::keep(std::string bytes) {
  if (const HashedBody* known = find(bytes)) return *known;
  if (!is_kept(bytes)) return hashed(std::move(bytes));
  HashedBody& slot = slots_[slot_of(bytes, slots_.size())];
  slot = hashed(std::move(bytes));
  return slot;
}

}  // namespace tapdeck::store
