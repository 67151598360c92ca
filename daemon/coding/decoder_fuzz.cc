// First byte: which codings. What is malformed must be an error, never a crash, and memory and output stay bounded.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "daemon/coding/decoder.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tapdeck::coding;
  if (size == 0) return 0;
  const Coding first = kCodings[data[0] & 3];
  const Coding second = kCodings[(data[0] >> 2) & 3];
  const Coding codings[] = {first, second};
  const std::span<const Coding> used(codings, (data[0] & 16) != 0 ? 2 : 1);
  Bounds bounds;
  bounds.max_output = 4 << 20;
  Decoder decoder(used, bounds);
  uint64_t seen = 0;
  const Sink sink = [&seen](std::string_view piece) { seen += piece.size(); };
  std::string_view rest(reinterpret_cast<const char*>(data + 1), size - 1);
  const size_t step = (data[0] & 32) != 0 ? 1 : 4096;
  while (!rest.empty()) {
    const std::string_view piece = rest.substr(0, step);
    rest.remove_prefix(piece.size());
    if (!decoder.feed(piece, sink)) break;
  }
  if (seen > bounds.max_output) std::abort();
  return 0;
}
