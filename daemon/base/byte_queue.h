// ByteQueue: the one byte buffer of the program. A chain of pooled 16 KiB chunks with reserve/commit at the tail and
// front/consume at the head; whole chunks move between queues without copying.
//
// It is not a ring, never reallocates, and views into it stay valid until the bytes are consumed, cleared or moved.
// Owner: one connection. Thread: the Worker's; the chunk pool is thread local, so a queue must be emptied on any one
// thread at a time (it may be handed to another thread whole).
#pragma once

#include <sys/uio.h>

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace tapdeck {

class ByteQueue {
 public:
  // 16 KiB = one TLS record of plaintext; the bookkeeping sits in front of it.
  static constexpr size_t kChunkBytes = 16384;

  ByteQueue() = default;
  ByteQueue(ByteQueue&& other) noexcept;
  ByteQueue& operator=(ByteQueue&& other) noexcept;
  ByteQueue(const ByteQueue&) = delete;
  ByteQueue& operator=(const ByteQueue&) = delete;
  ~ByteQueue() { clear(); }

  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }

  // Writable memory at the tail, at least `least` bytes (1..kChunkBytes); what follows commit() becomes readable.
  // Invalidated by any other non-const call.
  [[nodiscard]] std::span<char> reserve(size_t least = 1) {
    const bool fits = tail_ != nullptr && tail_->readable() > 0 && tail_->writable() >= least;
    return fits ? std::span<char>(tail_->data + tail_->end, tail_->writable()) : reserve_anew(least);
  }
  void commit(size_t n) {
    if (n == 0) return;
    assert(tail_ != nullptr && n <= tail_->writable());
    tail_->end += static_cast<uint32_t>(n);
    size_ += n;
  }
  void append(std::string_view bytes);
  // Appends all of `other` and empties it; chunks move, nothing is copied (short tails are copied to save memory).
  void append(ByteQueue&& other);
  // Moves at most `limit` bytes from the front of `from`; returns how many.
  size_t move_from(ByteQueue& from, size_t limit);

  // The first contiguous readable piece; empty only when the queue is. Valid until consumed.
  [[nodiscard]] std::string_view front() const {
    if (head_ != nullptr && head_->readable() > 0) return {head_->data + head_->begin, head_->readable()};
    return front_of_rest();
  }
  // n <= size().
  void consume(size_t n) {
    if (head_ == nullptr || n >= head_->readable()) return consume_chunks(n);
    head_->begin += static_cast<uint32_t>(n);
    size_ -= n;
  }
  // Fills at most out.size() entries with readable pieces from the head; returns how many.
  size_t pieces(std::span<iovec> out) const;
  // Copies the first min(n, size()) bytes.
  [[nodiscard]] std::string peek(size_t n) const;
  [[nodiscard]] std::string to_string() const { return peek(size_); }
  // Makes the first n bytes contiguous (n <= min(size(), kChunkBytes)) and returns them.
  std::string_view contiguous(size_t n);
  void clear();

 private:
  struct Chunk {
    Chunk* next = nullptr;
    uint32_t begin = 0;
    uint32_t end = 0;
    char data[kChunkBytes];

    [[nodiscard]] size_t readable() const { return end - begin; }
    [[nodiscard]] size_t writable() const { return kChunkBytes - end; }
  };
  static Chunk* acquire();
  static void release(Chunk* chunk);
  // The rarer halves of reserve, front and consume, whose common ones are a few instructions in their callers.
  [[nodiscard]] std::span<char> reserve_anew(size_t least);
  [[nodiscard]] std::string_view front_of_rest() const;
  void consume_chunks(size_t n);
  void push_chunk(Chunk* chunk);
  void pop_front_chunk();

  Chunk* head_ = nullptr;
  Chunk* tail_ = nullptr;
  size_t size_ = 0;
};

}  // namespace tapdeck
