// Any bytes, from either side, with and without compression: never reads outside its input, never passes its limit,
// and reads the same however the bytes were cut.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "daemon/ws/transcript.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tapdeck::ws;
  if (size < 2) return 0;
  ReaderOptions options;
  options.from = (data[0] & 1) != 0 ? From::Server : From::Client;
  if ((data[0] & 2) != 0) options.deflate = (data[0] & 4) != 0 ? Context::Kept : Context::Dropped;
  options.max_message = 4096;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  const auto whole = read_in_two(options, bytes, 0);
  if (whole != read_in_two(options, bytes, data[1] % (bytes.size() + 1))) std::abort();
  for (const std::string& line : whole) {
    if (line.size() > options.max_message + 64) std::abort();
  }
  return 0;
}
