// ClientHello peek: what a TLS client asks for, read from its first bytes before any TLS state exists, so that the
// owner can dial, pick a leaf or tunnel first.
//
// It is a pure parser: it consumes nothing, decrypts nothing, and does not judge whether OpenSSL will like the hello.
// The same bytes go to a TlsSession (or a tunnel) afterwards. Thread: any; values only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tapdeck::tls {

struct ClientHello {
  // Host name of the server_name extension (RFC 6066 section 3), lower case, without a trailing dot; or the address
  // that some clients send there against the RFC, IPv6 without brackets. Empty: none sent, or what came is neither:
  // nothing of it is kept. One with a NUL or of more than 255 bytes makes the hello Malformed.
  std::string sni;
  std::vector<std::string> alpn;  // in the client's order, raw protocol ids ("h2", "http/1.1", maybe GREASE bytes)
  uint16_t max_version = 0;  // highest of supported_versions that is not GREASE, else legacy_version (0x0303 = 1.2)
  bool offers_ech = false;   // encrypted_client_hello (0xfe0d) present: the SNI above may be a public cover name
};

struct Peek {
  enum class Verdict {
    NeedMore,   // a prefix of a possible ClientHello
    NotTls,     // not a TLS handshake: tunnel or HTTP in the clear
    Hello,      // `hello` is filled
    Malformed,  // a TLS record with a ClientHello that contradicts itself; `reason` says how
  };
  Verdict verdict = Verdict::NeedMore;
  ClientHello hello;
  std::string_view reason;  // static text, set for Malformed
};

// A hello longer than this (key shares, ECH and padding stay below 4 KiB in practice, a ticket with a client's
// certificate chain has 64 KiB at most) is Malformed. With record headers no more than kMaxPeekBytes bytes need to be
// kept before the verdict.
inline constexpr size_t kMaxHelloBytes = 65536;
inline constexpr size_t kMaxPeekBytes = 2 * kMaxHelloBytes;

// Looks at the first bytes of a stream. Decides NotTls as early as the bytes allow (the first one, as a rule). A hello
// split over several TLS records (RFC 8446 section 5.1) is put together; empty fragments are Malformed.
[[nodiscard]] Peek peek_client_hello(std::string_view bytes);

}  // namespace tapdeck::tls
