#include "daemon/base/byte_queue.h"

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>

namespace tapdeck {

namespace {

// 64 chunks (1 MiB) cached a thread: enough for the chunks in flight of a busy loop turn, small enough to forget.
constexpr size_t kPoolLimit = 64;

struct RawPool {
  void* slots[kPoolLimit];
  size_t count = 0;
  ~RawPool() {
    while (count > 0) ::operator delete(slots[--count]);
  }
};

thread_local RawPool pool;

}  // namespace

ByteQueue::Chunk* ByteQueue::acquire() {
  void* memory = pool.count > 0 ? pool.slots[--pool.count] : ::operator new(sizeof(Chunk));
  auto* chunk = static_cast<Chunk*>(memory);
  chunk->next = nullptr;
  chunk->begin = chunk->end = 0;
  return chunk;
}

void ByteQueue::release(Chunk* chunk) {
  if (pool.count < kPoolLimit) {
    pool.slots[pool.count++] = chunk;
  } else {
    ::operator delete(chunk);
  }
}

ByteQueue::ByteQueue(ByteQueue&& other) noexcept
    : head_(std::exchange(other.head_, nullptr)),
      tail_(std::exchange(other.tail_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

ByteQueue& ByteQueue::operator=(ByteQueue&& other) noexcept {
  if (this != &other) {
    clear();
    head_ = std::exchange(other.head_, nullptr);
    tail_ = std::exchange(other.tail_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

void ByteQueue::push_chunk(Chunk* chunk) {
  if (tail_ != nullptr) {
    tail_->next = chunk;
  } else {
    head_ = chunk;
  }
  tail_ = chunk;
}

void ByteQueue::pop_front_chunk() {
  Chunk* chunk = head_;
  head_ = chunk->next;
  if (head_ == nullptr) tail_ = nullptr;
  release(chunk);
}

std::span<char> ByteQueue::reserve_anew(size_t least) {
  assert(least >= 1 && least <= kChunkBytes);
  if (tail_ != nullptr && tail_->readable() == 0) tail_->begin = tail_->end = 0;
  if (tail_ == nullptr || tail_->writable() < least) push_chunk(acquire());
  return {tail_->data + tail_->end, tail_->writable()};
}

void ByteQueue::append(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::span<char> space = reserve();
    const size_t n = std::min(space.size(), bytes.size());
    std::memcpy(space.data(), bytes.data(), n);
    commit(n);
    bytes.remove_prefix(n);
  }
}

void ByteQueue::append(ByteQueue&& other) {
  if (other.empty() || &other == this) return;
  // A short queue is cheaper copied than chained: it keeps chunks full and the pool small.
  if (tail_ != nullptr && other.size_ <= 1024 && other.size_ <= tail_->writable()) {
    while (!other.empty()) {
      const std::string_view piece = other.front();
      append(piece);
      other.consume(piece.size());
    }
    return;
  }
  if (tail_ != nullptr && size_ == 0) clear();
  if (tail_ != nullptr) {
    tail_->next = other.head_;
  } else {
    head_ = other.head_;
  }
  tail_ = other.tail_;
  size_ += other.size_;
  other.head_ = other.tail_ = nullptr;
  other.size_ = 0;
}

size_t ByteQueue::move_from(ByteQueue& from, size_t limit) {
  if (limit >= from.size_) {
    const size_t n = from.size_;
    append(std::move(from));
    return n;
  }
  size_t moved = 0;
  while (moved < limit) {
    const std::string_view piece = from.front().substr(0, limit - moved);
    const size_t n = piece.size();
    append(piece);
    from.consume(n);
    moved += n;
  }
  return moved;
}

std::string_view ByteQueue::front_of_rest() const {
  for (const Chunk* chunk = head_; chunk != nullptr; chunk = chunk->next) {
    if (chunk->readable() > 0) return {chunk->data + chunk->begin, chunk->readable()};
  }
  return {};
}

void ByteQueue::consume_chunks(size_t n) {
  assert(n <= size_);
  size_ -= n;
  while (n > 0 || (head_ != nullptr && head_->readable() == 0)) {
    const size_t here = std::min(n, head_->readable());
    head_->begin += static_cast<uint32_t>(here);
    n -= here;
    if (head_->readable() > 0) break;
    pop_front_chunk();
  }
}

size_t ByteQueue::pieces(std::span<iovec> out) const {
  size_t count = 0;
  for (Chunk* chunk = head_; chunk != nullptr && count < out.size(); chunk = chunk->next) {
    if (chunk->readable() == 0) continue;
    out[count++] = iovec{chunk->data + chunk->begin, chunk->readable()};
  }
  return count;
}

std::string ByteQueue::peek(size_t n) const {
  std::string bytes;
  bytes.reserve(std::min(n, size_));
  for (const Chunk* chunk = head_; chunk != nullptr && bytes.size() < n; chunk = chunk->next) {
    bytes.append(chunk->data + chunk->begin, std::min(chunk->readable(), n - bytes.size()));
  }
  return bytes;
}

std::string_view ByteQueue::contiguous(size_t n) {
  assert(n <= size_ && n <= kChunkBytes);
  while (head_ != nullptr && head_->readable() == 0) pop_front_chunk();
  if (n == 0 || head_->readable() >= n) return front().substr(0, n);
  Chunk* first = acquire();
  size_ -= n;
  while (first->readable() < n) {
    const size_t here = std::min(n - first->readable(), head_->readable());
    std::memcpy(first->data + first->end, head_->data + head_->begin, here);
    first->end += static_cast<uint32_t>(here);
    head_->begin += static_cast<uint32_t>(here);
    if (head_->readable() == 0) pop_front_chunk();
  }
  first->next = head_;
  head_ = first;
  if (tail_ == nullptr) tail_ = first;
  size_ += n;
  return {first->data, n};
}

void ByteQueue::clear() {
  while (head_ != nullptr) pop_front_chunk();
  size_ = 0;
}

}  // namespace tapdeck
