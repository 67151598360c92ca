// Content codings (RFC 9110 8.4): their names, and what a Content-Encoding or Accept-Encoding field says. Pure.
//
// Decoding and encoding are decoder.h and encoder.h. Thread: any.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "daemon/http/message.h"

namespace tapdeck::coding {

enum class Coding : uint8_t { Identity, Gzip, Deflate, Brotli, Zstd };

// What we may choose for a client, dearest to decode last.
inline constexpr std::array kCodings = {Coding::Gzip, Coding::Zstd, Coding::Brotli, Coding::Deflate};

[[nodiscard]] std::string_view to_string(Coding coding);
// "gzip", "x-gzip", "deflate", "br", "zstd", "identity"; case does not matter. nullopt: a coding we cannot read.
[[nodiscard]] std::optional<Coding> parse_coding(std::string_view token);

// The codings of a message in the order they were applied, identity left out: empty = plain bytes. nullopt: one of
// them is unknown, or there are more than kMaxCodings.
inline constexpr size_t kMaxCodings = 3;
[[nodiscard]] std::optional<std::vector<Coding>> codings_of(const http::Headers& headers);

// What a client takes (RFC 9110 12.5.3).
class Accepted {
 public:
  // A request without Accept-Encoding takes anything; an empty field takes identity only.
  explicit Accepted(const http::Headers& request);
  [[nodiscard]] bool takes(Coding coding) const { return weight(coding) > 0; }
  // 0 to 1000.
  [[nodiscard]] int weight(Coding coding) const { return weights_[static_cast<size_t>(coding)]; }
  // The accepted coding of the highest weight; identity wins a tie, and is the answer when nothing is accepted.
  [[nodiscard]] Coding best() const;

 private:
  std::array<int, 5> weights_{};
};

}  // namespace tapdeck::coding
