#include "store/key_filter.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace tapdeck::store {
namespace {

constexpr size_t kLeastKeys = 65536;  // 80 KiB
constexpr size_t kBlockBits = 512;    // a cache line: one miss a slice, whatever the number of probes
constexpr unsigned kProbes = 6;

// Keys are digests: their bytes are as good as any hash of them.
uint64_t word(const Key& key, size_t index) {
  uint64_t out = 0;
  std::memcpy(&out, key.bytes.data() + index * sizeof out, sizeof out);
  return out;
}

size_t block_of(const Key& key, size_t blocks) {
  return static_cast<size_t>(word(key, 0) % blocks);
}

// Bit numbers of a key within its block: nine bits of the digest each.
template <class Each>
bool all_bits(const Key& key, Each each) {
  uint64_t bits = word(key, 1);
  for (unsigned i = 0; i < kProbes; ++i, bits >>= 9) {
    if (!each((bits >> 6) & 7, uint64_t{1} << (bits & 63))) return false;
  }
  return true;
}

}  // namespace

KeyFilter::Slice::Slice(size_t keys) : capacity(keys), blocks((keys * kBitsPerKey + kBlockBits - 1) / kBlockBits) {}

bool KeyFilter::may_hold(const Key& key) const {
  if (state() != State::Ready) return true;
  const size_t count = count_.load(std::memory_order_acquire);
  for (size_t i = 0; i < count; ++i) {
    const Block& block = slices_[i]->blocks[block_of(key, slices_[i]->blocks.size())];
    const bool here = all_bits(key, [&block](size_t index, uint64_t bit) {
      return (block.words[index].load(std::memory_order_relaxed) & bit) != 0;
    });
    if (here) return true;
  }
  return false;
}

bool KeyFilter::begin(size_t keys) {
  State expected = State::Idle;
  if (!state_.compare_exchange_strong(expected, State::Filling)) return false;
  const std::lock_guard guard(mutex_);
  if (keys > kMaxKeys) {
    retire();
  } else if (count_.load(std::memory_order_relaxed) == 0) {
    push_slice(std::max(kLeastKeys, keys + keys / 4));
  }
  return state() == State::Filling;
}

void KeyFilter::push_slice(size_t keys) {
  const size_t count = count_.load(std::memory_order_relaxed);
  if (count == kMaxSlices || keys_ > kMaxKeys) return retire();
  slices_[count] = std::make_unique<Slice>(keys);
  count_.store(count + 1, std::memory_order_release);
}

void KeyFilter::add(const Key& key) {
  const State now = state();
  if (now == State::Idle || now == State::Retired) return;
  const std::lock_guard guard(mutex_);
  Slice* last = slices_[count_.load(std::memory_order_relaxed) - 1].get();
  if (last->used >= last->capacity) {
    push_slice(2 * last->capacity);
    last = slices_[count_.load(std::memory_order_relaxed) - 1].get();
  }
  Block& block = last->blocks[block_of(key, last->blocks.size())];
  bool is_new = false;
  all_bits(key, [&](size_t index, uint64_t bit) {
    is_new |= (block.words[index].fetch_or(bit, std::memory_order_relaxed) & bit) == 0;
    return true;
  });
  if (!is_new) return;  // a key that repeats takes no room
  ++last->used;
  ++keys_;
}

void KeyFilter::finish(State state) {
  State expected = State::Filling;
  state_.compare_exchange_strong(expected, state, std::memory_order_acq_rel);
}

}  // namespace tapdeck::store
