// Any bytes decode or fail; what decodes encodes to bytes that decode to the same.
#include <cstdlib>

#include "store/record_codec.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto first = tapdeck::store::decode_record({reinterpret_cast<const char*>(data), size});
  if (!first) return 0;
  std::string once, twice;
  tapdeck::store::encode_record(*first, once);
  const auto second = tapdeck::store::decode_record(once);
  if (!second) std::abort();
  tapdeck::store::encode_record(*second, twice);
  if (once != twice) std::abort();
  return 0;
}
