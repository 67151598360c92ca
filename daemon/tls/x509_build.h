// Private to daemon/tls: the steps that the CA and the leaves share when an X.509 certificate is put together.
// Thread: any.
#pragma once

#include <string>
#include <string_view>

#include "daemon/base/result.h"
#include "daemon/tls/clock.h"
#include "daemon/tls/openssl_fwd.h"

namespace tapdeck::tls {

[[nodiscard]] Result<KeyPtr> make_p256_key();
// Version 3, random positive serial of 127 bits, validity and public key set; no names, no extensions.
[[nodiscard]] Result<CertPtr> begin_certificate(evp_pkey_st* public_key, Time not_before, Time not_after);
// Subject with one common name, 1 to 64 bytes.
[[nodiscard]] bool set_common_name(x509_st* certificate, std::string_view common_name);
// `value` in the syntax of openssl x509v3_config(5). The caller vouches for its text.
[[nodiscard]] bool add_extension(x509_st* certificate, x509_st* issuer, int nid, const std::string& value);
[[nodiscard]] bool sign_certificate(x509_st* certificate, evp_pkey_st* key);

}  // namespace tapdeck::tls
