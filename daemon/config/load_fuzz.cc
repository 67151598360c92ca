// Any bytes are a configuration or a clear error; what loads prints and loads again to the same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "daemon/config/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto config = tapdeck::config::parse(text, "fuzz.toml", "/etc/tapdeck");
  if (!config) return config.error().detail.starts_with("fuzz.toml:") ? 0 : (std::abort(), 0);
  const std::string printed = tapdeck::config::to_toml(*config);
  const auto again = tapdeck::config::parse(printed, "printed.toml", "/etc/tapdeck");
  if (!again || tapdeck::config::to_toml(*again) != printed) std::abort();
  return 0;
}
