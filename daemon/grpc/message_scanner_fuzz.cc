// However a body is cut, MessageScanner finds the same messages, and its pieces add up to the lengths it announced.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "daemon/grpc/message_scanner.h"

namespace {

struct Seen {
  tapdeck::grpc::MessageScanner scanner;
  std::string text;
  size_t size = 0;  // of the current message

  // false: malformed, nothing more is to be had.
  bool scan(std::string_view bytes) {
    while (true) {
      const auto piece = scanner.next(bytes);
      if (!piece) text += "malformed";
      if (!piece || !*piece) return piece.has_value();
      if ((*piece)->begins) {
        size = 0;
        text += ((*piece)->compressed ? 'z' : '+') + std::to_string((*piece)->length);
      }
      size += (*piece)->bytes.size();
      text += (*piece)->bytes;
      if (!(*piece)->ends) continue;
      if (size != (*piece)->length) std::abort();
      text += '.';
    }
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  Seen whole, parts;
  whole.scan(bytes);
  const size_t step = size == 0 ? 1 : 1 + data[size - 1] % 7;
  for (size_t at = 0; at < size; at += step) {
    if (!parts.scan(bytes.substr(at, step))) break;
  }
  if (whole.text != parts.text || whole.scanner.is_between() != parts.scanner.is_between()) std::abort();
  return 0;
}
