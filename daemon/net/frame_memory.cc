#include "daemon/net/frame_memory.h"

#include <array>
#include <new>
#include <utility>

namespace tapdeck::net {
namespace {

constexpr std::size_t kStep = 128;    // sizes of a class differ by less
constexpr std::size_t kClasses = 48;  // up to 6 KiB; no frame is larger, and one that were would come from malloc
constexpr std::size_t kKept = 256;    // blocks of a class: the exchanges a busy worker has open at a time

struct Block {
  Block* next;
};

struct Shelf {
  Block* first;
  std::size_t count;
};

struct Shelves {
  std::array<Shelf, kClasses> shelves;
  bool closed;  // the thread ends
};
constinit thread_local Shelves mine{};

struct Closer {
  ~Closer() {
    mine.closed = true;
    for (Shelf& shelf : mine.shelves) {
      while (shelf.first != nullptr) ::operator delete(std::exchange(shelf.first, shelf.first->next));
      shelf.count = 0;
    }
  }
};

std::size_t class_of(std::size_t size) {
  return (size - 1) / kStep;
}

}  // namespace

void* take_frame(std::size_t size) {
  const std::size_t kind = class_of(size);
  if (kind >= kClasses) return ::operator new(size);
  Shelf& shelf = mine.shelves[kind];
  if (shelf.first == nullptr) return ::operator new((kind + 1) * kStep);
  --shelf.count;
  return std::exchange(shelf.first, shelf.first->next);
}

void give_back_frame(void* frame, std::size_t size) noexcept {
  const std::size_t kind = class_of(size);
  if (kind >= kClasses || mine.closed || mine.shelves[kind].count >= kKept) return ::operator delete(frame);
  Shelf& shelf = mine.shelves[kind];
  if (shelf.first == nullptr) thread_local const Closer closer;
  shelf.first = new (frame) Block{shelf.first};
  ++shelf.count;
}

}  // namespace tapdeck::net
