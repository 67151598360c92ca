// Merging trust: the bundle a client would have read, plus our CA, as bytes; and what a PEM bundle is to us.
//
// It is not certificate validation: blocks are kept as they are, compared by their base64 text, and never parsed; only
// our own CA is. Pure functions, no I/O. Thread: any.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/result.h"

namespace tapdeck::trust {

// No distributed bundle is near this (Mozilla's is 220 KB); a bigger "bundle" is something else.
inline constexpr size_t kMaxBundleBytes = 16UL << 20;

// Our CA as trust stores need it.
struct CaCertificate {
  std::string pem;           // one CERTIFICATE block, newline terminated
  std::string subject_hash;  // 8 hex digits, `openssl x509 -hash`: the name it has in a hashed directory
};

// Takes the first CERTIFICATE block of `pem`. InvalidArgument when there is none or it does not parse.
[[nodiscard]] Result<CaCertificate> parse_ca(std::string_view pem);

// The base64 text of each CERTIFICATE (or TRUSTED or X509 CERTIFICATE) block without white space, in order: two
// blocks are the same certificate when these are equal. Text between blocks and broken blocks are skipped.
[[nodiscard]] std::vector<std::string> certificate_bodies(std::string_view bundle);

// The CERTIFICATE blocks of `bundle`, each ended by a newline, and nothing else: no key, no text between.
[[nodiscard]] std::string certificates_only(std::string_view bundle);

// `bundle` byte for byte, then each block of `additions` that neither it nor an earlier addition holds. TooLarge when
// the result would pass `limit` bytes.
[[nodiscard]] Result<std::string> merge_bundles(std::string_view bundle, std::span<const std::string> additions,
                                                size_t limit = kMaxBundleBytes);

}  // namespace tapdeck::trust
