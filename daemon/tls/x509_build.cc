#include "daemon/tls/x509_build.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "daemon/tls/openssl_util.h"

namespace tapdeck::tls {

Result<KeyPtr> make_p256_key() {
  KeyPtr key(EVP_EC_gen("P-256"));
  if (!key) return openssl_failure("P-256 key");
  return key;
}

Result<CertPtr> begin_certificate(evp_pkey_st* public_key, Time not_before, Time not_after) {
  CertPtr certificate(X509_new());
  // 127 bits: positive (RFC 5280 4.1.2.2), unique in practice, and more than the 64 random bits that browsers ask for.
  unsigned char serial[16];
  if (!certificate || RAND_bytes(serial, sizeof(serial)) != 1) return openssl_failure("certificate");
  serial[0] = static_cast<unsigned char>((serial[0] & 0x7f) | 0x40);
  const Owned<BIGNUM, BN_free> number(BN_bin2bn(serial, sizeof(serial), nullptr));
  X509* raw = certificate.get();
  const auto set_time = [](const ASN1_TIME* field, Time time) {
    return ASN1_TIME_set(const_cast<ASN1_TIME*>(field), time.time_since_epoch().count()) != nullptr;
  };
  const bool ok = number && BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(raw)) != nullptr &&
                  X509_set_version(raw, X509_VERSION_3) == 1 && set_time(X509_getm_notBefore(raw), not_before) &&
                  set_time(X509_getm_notAfter(raw), not_after) && X509_set_pubkey(raw, public_key) == 1;
  if (!ok) return openssl_failure("certificate");
  return certificate;
}

bool set_common_name(x509_st* certificate, std::string_view common_name) {
  return X509_NAME_add_entry_by_NID(X509_get_subject_name(certificate), NID_commonName, MBSTRING_UTF8,
                                    reinterpret_cast<const unsigned char*>(common_name.data()),
                                    static_cast<int>(common_name.size()), -1, 0) == 1;
}

bool add_extension(x509_st* certificate, x509_st* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const Owned<X509_EXTENSION, X509_EXTENSION_free> extension(
      X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

bool sign_certificate(x509_st* certificate, evp_pkey_st* key) {
  // Ed25519 and Ed448 bring their own digest and take no other (RFC 8410).
  const bool is_eddsa = EVP_PKEY_is_a(key, "ED25519") == 1 || EVP_PKEY_is_a(key, "ED448") == 1;
  return X509_sign(certificate, key, is_eddsa ? nullptr : EVP_sha256()) > 0;
}

}  // namespace tapdeck::tls
