#include "daemon/tls/client_hello.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "daemon/base/ascii.h"
#include "daemon/tls/openssl_util.h"

namespace tapdeck::tls {

namespace {

constexpr uint8_t kHandshakeRecord = 22;
constexpr uint8_t kClientHelloMessage = 1;
constexpr size_t kMaxRecord = 16384;

constexpr uint16_t kServerName = 0;
constexpr uint16_t kAlpn = 16;
constexpr uint16_t kSupportedVersions = 43;
constexpr uint16_t kEncryptedClientHello = 0xfe0d;

Peek malformed(std::string_view reason) {
  return {Peek::Verdict::Malformed, {}, reason};
}

// A cursor over big-endian vectors; every read may fail.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  [[nodiscard]] bool empty() const { return bytes_.empty(); }
  [[nodiscard]] std::string_view rest() const { return bytes_; }

  std::optional<std::string_view> take(size_t n) {
    if (bytes_.size() < n) return std::nullopt;
    const std::string_view taken = bytes_.substr(0, n);
    bytes_.remove_prefix(n);
    return taken;
  }
  std::optional<uint32_t> number(size_t width) {
    const auto raw = take(width);
    if (!raw) return std::nullopt;
    uint32_t value = 0;
    for (const char c : *raw) value = value << 8 | static_cast<uint8_t>(c);
    return value;
  }
  // opaque data<0..2^(8*width)-1>
  std::optional<std::string_view> vector(size_t width) {
    const auto size = number(width);
    return size ? take(*size) : std::nullopt;
  }

 private:
  std::string_view bytes_;
};

// RFC 8701: reserved values that only test tolerance.
bool is_grease(uint32_t value) {
  return (value & 0x0f0f) == 0x0a0a && value >> 8 == (value & 0xff);
}

// What OpenSSL refuses as well, so that no handshake of ours could come of it.
bool breaks_off(std::string_view name) {
  constexpr size_t kMaxName = 255;
  return name.size() > kMaxName || name.contains('\0');
}

// Without the brackets that some clients leave around an IPv6 literal. Empty: neither a host name nor an address.
std::string usable_name(std::string_view raw) {
  if (raw.starts_with('[') && raw.ends_with(']')) {
    raw = raw.substr(1, raw.size() - 2);
    if (!raw.contains(':')) return {};
  }
  if (raw.ends_with('.')) raw.remove_suffix(1);
  const bool is_name = is_dns_name(raw) && !raw.contains('*');
  return is_name || !address_bytes(raw).empty() ? lowered(raw) : std::string();
}

bool read_server_name(std::string_view body, ClientHello& hello) {
  Reader outer(body);
  const auto list = outer.vector(2);
  if (!list || !outer.empty()) return false;
  Reader reader(*list);
  bool is_named = false;
  while (!reader.empty()) {
    const auto type = reader.number(1);
    const auto name = reader.vector(2);
    if (!type || !name) return false;
    if (*type != 0) continue;
    if (std::exchange(is_named, true)) return false;  // RFC 6066: one name of a type
    if (breaks_off(*name)) return false;
    hello.sni = usable_name(*name);
  }
  return true;
}

bool read_alpn(std::string_view body, ClientHello& hello) {
  Reader outer(body);
  const auto list = outer.vector(2);
  if (!list || list->empty() || !outer.empty()) return false;
  Reader reader(*list);
  while (!reader.empty()) {
    const auto protocol = reader.vector(1);
    if (!protocol || protocol->empty()) return false;
    hello.alpn.emplace_back(*protocol);
  }
  return true;
}

bool read_versions(std::string_view body, ClientHello& hello) {
  Reader outer(body);
  const auto list = outer.vector(1);
  if (!list || list->empty() || !outer.empty()) return false;
  uint32_t best = 0;
  Reader reader(*list);
  while (!reader.empty()) {
    const auto version = reader.number(2);
    if (!version) return false;
    if (!is_grease(*version)) best = std::max(best, *version);
  }
  if (best != 0) hello.max_version = static_cast<uint16_t>(best);
  return true;
}

std::string_view read_extension(uint32_t type, std::string_view body, ClientHello& hello) {
  switch (type) {
    case kServerName:
      return read_server_name(body, hello) ? "" : "bad server_name extension";
    case kAlpn:
      return read_alpn(body, hello) ? "" : "bad ALPN extension";
    case kSupportedVersions:
      return read_versions(body, hello) ? "" : "bad supported_versions extension";
    case kEncryptedClientHello:
      hello.offers_ech = true;
      return "";
    default:
      return "";
  }
}

// RFC 8446 4.1.2; `body` is the whole message without its four-byte header.
Peek parse_hello(std::string_view body) {
  Peek peek{Peek::Verdict::Hello, {}, {}};
  Reader reader(body);
  const auto version = reader.number(2);
  const auto random = reader.take(32);
  const auto session_id = reader.vector(1);
  const auto ciphers = reader.vector(2);
  const auto compression = reader.vector(1);
  if (!version || !random || !session_id || !ciphers || !compression) return malformed("short ClientHello");
  if (session_id->size() > 32) return malformed("long session id");
  if (ciphers->empty() || ciphers->size() % 2 != 0) return malformed("bad cipher suite list");
  if (compression->empty()) return malformed("no compression method");
  peek.hello.max_version = static_cast<uint16_t>(*version);
  if (reader.empty()) return peek;  // no extensions: legal before 1.3
  const auto extensions = reader.vector(2);
  if (!extensions || !reader.empty()) return malformed("bad extension block");
  Reader list(*extensions);
  std::array<bool, 64> seen_low{};  // the extensions read here, but for ECH, have low numbers
  bool seen_ech = false;
  while (!list.empty()) {
    const auto type = list.number(2);
    const auto data = list.vector(2);
    if (!type || !data) return malformed("short extension");
    bool* seen = *type < seen_low.size() ? &seen_low[*type] : (*type == kEncryptedClientHello ? &seen_ech : nullptr);
    if (seen != nullptr && std::exchange(*seen, true)) return malformed("repeated extension");
    if (const std::string_view reason = read_extension(*type, *data, peek.hello); !reason.empty()) {
      return malformed(reason);
    }
  }
  return peek;
}

// The message header's first byte is known before the record is whole: not a ClientHello means not a client of TLS.
std::optional<Peek> judge_prefix(std::string_view bytes) {
  const auto at = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  if (bytes.empty()) return Peek{};
  if (at(0) != kHandshakeRecord) return Peek{Peek::Verdict::NotTls, {}, {}};
  if (bytes.size() > 1 && at(1) != 3) return Peek{Peek::Verdict::NotTls, {}, {}};
  // Record versions 3.0 to 3.4 exist; servers must ignore the minor (RFC 8446 5.1), other protocols do not send them.
  if (bytes.size() > 2 && at(2) > 4) return Peek{Peek::Verdict::NotTls, {}, {}};
  // A length that is itself malformed was reported before this byte came; more bytes do not change a verdict.
  const size_t size = bytes.size() > 5 ? at(3) * 256U + at(4) : 0;
  if (size >= 1 && size <= kMaxRecord && at(5) != kClientHelloMessage) return Peek{Peek::Verdict::NotTls, {}, {}};
  return std::nullopt;
}

}  // namespace

Peek peek_client_hello(std::string_view bytes) {
  if (const auto early = judge_prefix(bytes)) return *early;
  // Usual case: one record holds it all, and `message` stays a view. Only a second record makes a copy.
  std::string joined;
  std::string_view message;
  Reader records(bytes);
  for (bool first = true;; first = false) {
    const auto type = records.number(1);
    if (!type) return {};
    if (*type != kHandshakeRecord) return malformed("another record inside the ClientHello");
    const auto version = records.number(2);
    const auto size = records.number(2);
    if (!version || !size) return {};
    if (*version >> 8 != 3) return malformed("bad record version");
    if (*size == 0) return malformed("empty handshake record");
    if (*size > kMaxRecord) return malformed("record longer than 16 KiB");
    const std::string_view available = records.rest().substr(0, *size);
    if (first) {
      message = available;
    } else {
      if (joined.empty()) joined = message;
      joined += available;
      message = joined;
    }
    if (message.size() >= 4) {
      Reader header(message.substr(1, 3));
      const size_t length = *header.number(3);
      if (length > kMaxHelloBytes) return malformed("ClientHello longer than 64 KiB");
      if (message.size() >= 4 + length) return parse_hello(message.substr(4, length));
    }
    if (!records.take(*size)) return {};
    if (bytes.size() > kMaxPeekBytes) return malformed("ClientHello split over too many records");
  }
}

}  // namespace tapdeck::tls
