// Fuzz target of peek_client_hello: any prefix of any bytes ends in a verdict, and a verdict that is not NeedMore never
// changes when more bytes come.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "daemon/tls/client_hello.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using tapdeck::tls::Peek;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const Peek whole = tapdeck::tls::peek_client_hello(bytes);
  const Peek half = tapdeck::tls::peek_client_hello(bytes.substr(0, size / 2));
  if (half.verdict != Peek::Verdict::NeedMore && half.verdict != whole.verdict) std::abort();
  if (half.verdict == Peek::Verdict::Hello && half.hello.sni != whole.hello.sni) std::abort();
  if (whole.verdict == Peek::Verdict::Malformed && whole.reason.empty()) std::abort();
  if (whole.verdict == Peek::Verdict::NeedMore && size > tapdeck::tls::kMaxPeekBytes + 16384 + 5) std::abort();
  for (const char c : whole.hello.sni) {
    if (c <= ' ' || c > '~' || c == '*' || c == '[') std::abort();
  }
  return 0;
}
