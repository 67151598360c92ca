// Redaction: the one function through which every stored plane passes before it is encoded.
//
// Values become "[redacted:xxxxxxxx]", eight hex digits of a keyed digest, so that equal secrets stay equal in the
// store without being readable. Of cookies the values alone: names and attributes stay. Matching uses the originals
// (match_key.h). Not for bodies yet: a later plane of the same function. Immutable after construction, shared by all
// threads.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "store/match_key.h"
#include "store/record.h"

namespace tapdeck::store {

struct RedactOptions {
  // Names of header and trailer fields beside Authorization, Proxy-Authorization, Cookie and Set-Cookie.
  // Any case.
  std::vector<std::string> headers;
  // Names of query parameters, percent-decoded and without the space around them, any case; "token" is also token[x].
  // Default none.
  std::vector<std::string> query;
};

// How many values were replaced, per plane; adds up over calls.
struct RedactionCounts {
  uint64_t uri = 0;
  uint64_t headers = 0;
  uint64_t trailers = 0;
  [[nodiscard]] uint64_t total() const { return uri + headers + trailers; }
};

struct Cookie {
  std::string_view name, value;
};

class Redactor {
 public:
  // `secret` keys the digests in placeholders: ExchangeStore::redaction_secret().
  Redactor(const RedactOptions& options, const Secret& secret);

  // Every plane of a recording, in place. Doing it twice changes nothing.
  RedactionCounts redact(Recording& recording) const;
  // For 502 bodies and logs: the query and the header fields of what was asked for.
  void redact(KeyParts& parts) const;
  // A request target or URL: user information, query and fragment; returns how many values were replaced.
  uint64_t redact_target(std::string& target) const;
  // Whole values of secret fields, of cookies each one's; of URLs (redact_fields.h) what redact_target() would; tokens
  // among subprotocols.
  uint64_t redact_headers(http::Headers& headers) const;
  // A name of RedactOptions::query stands in `text` as a word, in any case: what is near it may be secret.
  [[nodiscard]] bool names_secret(std::string_view text) const;
  // The cookies that a client sends, values without quotes: views into `headers`. None is of an empty value.
  [[nodiscard]] static std::vector<Cookie> cookies_of(const http::Headers& headers);

 private:
  [[nodiscard]] bool is_secret_header(std::string_view name) const;
  [[nodiscard]] uint64_t redact_value(std::string_view name, std::string& value) const;
  [[nodiscard]] bool is_secret_name(std::string_view encoded) const;
  // The "user:password@" of the authority that begins there.
  [[nodiscard]] uint64_t redact_authority(std::string& url, size_t begin) const;
  // What stands in a field: a URL, or a reference, which may begin with the authority (//user:password@host/).
  [[nodiscard]] uint64_t redact_reference(std::string& reference) const;
  [[nodiscard]] size_t named_value_in(std::string_view pair) const;
  // Where in "name=value[;...]" what is to be hidden begins: a value, or a URL's user information; npos: nowhere.
  [[nodiscard]] size_t secret_in(std::string_view pair, int depth = 0) const;
  [[nodiscard]] uint64_t redact_query(std::string& query) const;
  [[nodiscard]] std::string placeholder(std::string_view value) const;

  KeyHasher hasher_;
  std::vector<std::string> headers_;  // lower case
  uint64_t header_sizes_ = 0;         // bit n: some name has n (mod 64) characters; most fields are passed over by it
  std::vector<std::string> query_;
};

}  // namespace tapdeck::store
