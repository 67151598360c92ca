#include "daemon/tls/record_buffers.h"

#include <malloc.h>
#include <openssl/crypto.h>

#include <cstddef>
#include <cstdlib>

namespace tapdeck::tls {
namespace {

// A record of 16 KiB with its header, tag and alignment, in either direction, lies between the two.
constexpr size_t kLeast = 16384;
constexpr size_t kBlock = 20480;
// Connections are served one after the other: a thread has two or three in use at a time.
constexpr size_t kKept = 8;

struct Kept {
  void* blocks[kKept];
  size_t count;
  bool closed;  // the thread ends: OpenSSL frees more of its own after us
};
constinit thread_local Kept kept{};

struct Closer {
  ~Closer() {
    kept.closed = true;
    while (kept.count > 0) std::free(kept.blocks[--kept.count]);
  }
};

void* take(size_t size, const char* /*file*/, int /*line*/) {
  if (size <= kLeast || size > kBlock) return std::malloc(size);
  if (kept.count > 0) return kept.blocks[--kept.count];
  return std::malloc(kBlock);
}

void* resize(void* block, size_t size, const char* /*file*/, int /*line*/) {
  return std::realloc(block, size);
}

void give_back(void* block, const char* /*file*/, int /*line*/) {
  if (block == nullptr) return;
  const size_t size = malloc_usable_size(block);
  if (size < kBlock || size >= kBlock + kLeast || kept.count == kKept || kept.closed) return std::free(block);
  thread_local const Closer closer;
  kept.blocks[kept.count++] = block;
}

}  // namespace

bool keep_record_buffers() {
  return CRYPTO_set_mem_functions(take, resize, give_back) == 1;
}

}  // namespace tapdeck::tls
