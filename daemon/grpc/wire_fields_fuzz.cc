// Any bytes are a message or malformed; where they are a message, what is chosen does not depend on the other fields
// being looked at: choosing field 1 and all elements of field 1 one by one agree.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "daemon/grpc/wire_fields.h"

using namespace tapdeck;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  std::string all, deep;
  ignore(grpc::append_fields(*config::FieldPath::parse("1.2.3"), bytes, deep), "only that it returns");
  if (grpc::append_fields(*config::FieldPath::parse("1"), bytes, all) == grpc::WireFormat::Malformed) return 0;
  if (size > 4096) return 0;
  std::string one_by_one;
  for (size_t i = 0; i <= size; ++i) {
    const auto path = config::FieldPath::parse("1[" + std::to_string(i) + "]");
    const size_t before = one_by_one.size();
    if (grpc::append_fields(*path, bytes, one_by_one) == grpc::WireFormat::Malformed) std::abort();
    if (one_by_one.size() == before) break;
  }
  if (one_by_one != all) std::abort();
  return 0;
}
