// What was found out about a peer's certificate: the failure kind and the facts needed to show a client the same
// failure, now or from a recording. Values only; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/tls/clock.h"

namespace tapdeck::tls {

// When several apply, the one listed first below None wins: a chain nobody vouches for is never reported as merely old.
enum class VerifyFailure { None, SelfSigned, UntrustedIssuer, Revoked, Other, WrongName, Expired, NotYetValid };

// Stable names for recordings, logs and metrics: "none", "self_signed", "untrusted_issuer", "revoked", "other",
// "wrong_name", "expired", "not_yet_valid".
[[nodiscard]] std::string_view to_string(VerifyFailure failure);
// The inverse; nullopt for any other text.
[[nodiscard]] std::optional<VerifyFailure> verify_failure_from(std::string_view text);

struct PeerReport {
  VerifyFailure failure = VerifyFailure::None;
  std::vector<VerifyFailure> also{};   // WrongName, Expired, NotYetValid besides a graver failure, gravest first
  std::string detail;                  // OpenSSL's words and the depth: "certificate has expired (depth 0)"
  std::vector<std::string> dns_names;  // SANs of the leaf, at most 64; entries with control bytes or NUL left out
  std::vector<std::string> ips;        // textual
  // Of a leaf that carries no DNS name as SAN: its common name, if that can be a host name of at most 64 bytes. Some
  // clients take it for one (RFC 2818 3.1), most have ceased to (RFC 9525 2).
  std::string common_name{};
  // Of the leaf, or of the chain certificate that was out of date.
  Time not_before{};
  Time not_after{};
  std::string sha256;  // DER digest of the leaf, lower-case hex

  [[nodiscard]] bool has(VerifyFailure kind) const;
};

// All of them as one text, for recordings and logs: "expired", "wrong_name+expired".
[[nodiscard]] std::string failures_of(const PeerReport& report);
// The inverse, kinds alone; nullopt when one is unknown or none is there.
[[nodiscard]] std::optional<PeerReport> report_from(std::string_view failures);

// What is recorded, in place of a failure, of an origin that verified by its common name alone.
inline constexpr std::string_view kNoSan = "no_san";

}  // namespace tapdeck::tls
