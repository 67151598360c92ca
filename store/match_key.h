// Match keys: which requests count as the same. A keyed one-way hash (HMAC-SHA-256) over the canonical request, so that
// originals take part in matching although only redacted values are stored.
//
// Not the canonical rules for bodies (content-decoding, JSON by value): callers that have them give a canonical digest.
// The secret belongs to a session (ExchangeStore::key_secret): derived from the install's, or carried by an import, so
// that an exported session still matches on another install. Pure; thread: any, one at a time; a KeyHasher is
// immutable after construction and may be shared.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/record.h"

namespace tapdeck::store {

using Secret = std::array<uint8_t, 32>;

// SHA-256 of bytes: the content address of body segments. About 1.5 us for 2 KiB.
[[nodiscard]] Digest content_digest(std::string_view bytes);

// A running SHA-256 as a plain value, 112 bytes, no allocation.
class Sha256 {
 public:
  Sha256();
  void update(std::string_view bytes);
  // The object must not be updated afterwards.
  [[nodiscard]] Digest finish();

 private:
  alignas(8) std::array<std::byte, 112> state_;
};

// HMAC-SHA-256 with the key's two blocks hashed in advance.
class KeyHasher {
 public:
  explicit KeyHasher(const Secret& secret);
  [[nodiscard]] Sha256 begin() const { return inner_; }
  [[nodiscard]] Digest finish(Sha256& running) const;
  [[nodiscard]] Digest of(std::string_view bytes) const;

 private:
  Sha256 inner_;
  Sha256 outer_;
};

// The comparable fields of a request, for telling how two requests differ. Redact it (Redactor::redact) before showing.
struct KeyParts {
  std::string scheme;
  std::string host;  // lower case, no port
  uint16_t port = 0;
  std::string method;
  std::string path;        // as sent, up to '?'; "/" when empty
  std::string query;       // without '?'
  Digest body_digest{};    // keyed, of the canonical form where there is one; zero when that is empty
  uint64_t body_size = 0;  // of the wire bytes: for people
  std::vector<KeyDimension> dimensions;
  std::string authority{};  // what the dimension of that name stands for: no secret
  http::Headers fields{};   // what the dimensions "header:NAME" stand for
};

// Builds one key. Use: construct, body() as the bytes pass, dimension() in a fixed order, key().
// `target` may be origin-form, absolute-form (scheme and authority inside it are ignored) or "*"; a fragment is
// dropped.
class KeyBuilder {
 public:
  // `hasher` must outlive the builder. `host` may carry upper case; no port in it.
  KeyBuilder(const KeyHasher& hasher, std::string_view scheme, std::string_view host, uint16_t port,
             std::string_view method, std::string_view target);
  // Content bytes of the request body (chunk framing removed), in any portions.
  void body(std::string_view bytes);
  // The digest (KeyHasher) of a canonical form that is compared instead of the bytes; zero: it is empty.
  void canonical_body(const Digest& digest) { canonical_ = digest; }
  // The bytes after all.
  void raw_body() { canonical_.reset(); }
  // An extra dimension, such as ("protocol", "websocket"). The order of calls is part of the key.
  void dimension(std::string_view name, std::string_view value);
  // A header field as a dimension, "header:NAME" in lower case.
  void field(std::string_view name, std::string_view value);
  // Call once, after everything was fed; parts() is whole afterwards.
  [[nodiscard]] Key key();
  [[nodiscard]] const KeyParts& parts() const { return parts_; }

 private:
  const KeyHasher& hasher_;
  KeyParts parts_;
  Sha256 body_;
  std::optional<Digest> canonical_;
};

// The method a request is matched by: an extended CONNECT (RFC 8441) by the GET that it stands for, so that a WebSocket
// recorded over one version of HTTP answers over the other.
[[nodiscard]] std::string_view key_method(const http::RequestHead& head);

// The parts of a stored recording, for comparison.
[[nodiscard]] KeyParts parts_of(const Recording& recording);

// The fields in which two requests differ: `where` is "method", "host", "port", "scheme", "path", "query", "body" or a
// dimension's name. Bodies show as "<n bytes, digest prefix>", dimensions as a digest prefix, but for "authority" and
// "header:NAME" (the first of that name).
struct Difference {
  std::string where, recorded, requested;
  friend bool operator==(const Difference&, const Difference&) = default;
};
[[nodiscard]] std::vector<Difference> differences(const KeyParts& recorded, const KeyParts& requested);

}  // namespace tapdeck::store
