// Private to daemon/tls: the only header here that includes OpenSSL's. Error queue, digests, times and addresses.
// Thread: any; OpenSSL's error queue is the calling thread's.
#pragma once

#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/x509.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "daemon/base/result.h"
#include "daemon/tls/clock.h"
#include "daemon/tls/openssl_fwd.h"

namespace tapdeck::tls {

// std::unique_ptr for a C type by its free function: `Owned<BIGNUM, BN_free>`.
template <auto kFree>
struct FreeWith {
  template <class T>
  void operator()(T* pointer) const {
    kFree(pointer);
  }
};
template <class T, auto kFree>
using Owned = std::unique_ptr<T, FreeWith<kFree>>;

// Before a call whose failure is told by the error queue. It is nearly always empty, and ERR_clear_error() wipes all of
// its sixteen entries: 400 instructions, several times a request.
inline void forget_errors() {
  if (ERR_peek_error() != 0) ERR_clear_error();
}
// Empties this thread's queue and returns the first reason in words, or `otherwise` when there is none.
[[nodiscard]] std::string drain_errors(std::string_view otherwise = "no reason given");
// Code::Internal with "what: reason".
[[nodiscard]] std::unexpected<Error> openssl_failure(std::string_view what);

// Lower-case hex SHA-256 of the DER certificate.
[[nodiscard]] std::string certificate_sha256(x509_st* certificate);
[[nodiscard]] std::string certificate_to_pem(x509_st* certificate);
[[nodiscard]] std::optional<Time> from_asn1(const ASN1_TIME* time);

// 4 or 16 network-order bytes of a textual address without zone; empty when it is none.
[[nodiscard]] std::string address_bytes(std::string_view text);
[[nodiscard]] std::string address_text(std::string_view bytes);
// May this stand in a certificate: labels of letters, digits, '-' and '_', at most 253 bytes, maybe a leading "*."?
[[nodiscard]] bool is_dns_name(std::string_view name);

}  // namespace tapdeck::tls
