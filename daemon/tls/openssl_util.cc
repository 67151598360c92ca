#include "daemon/tls/openssl_util.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include <ctime>

#include "daemon/base/hex.h"

namespace tapdeck::tls {

void OpensslDeleter::operator()(evp_pkey_st* key) const {
  EVP_PKEY_free(key);
}
void OpensslDeleter::operator()(ssl_ctx_st* context) const {
  SSL_CTX_free(context);
}
void OpensslDeleter::operator()(ssl_session_st* session) const {
  SSL_SESSION_free(session);
}
void OpensslDeleter::operator()(ssl_st* ssl) const {
  SSL_free(ssl);
}
void OpensslDeleter::operator()(x509_st* certificate) const {
  X509_free(certificate);
}
void OpensslDeleter::operator()(x509_store_st* store) const {
  X509_STORE_free(store);
}

std::string drain_errors(std::string_view otherwise) {
  const unsigned long first = ERR_get_error();
  ERR_clear_error();
  if (first == 0) return std::string(otherwise);
  if (const char* reason = ERR_reason_error_string(first)) return reason;
  if (ERR_SYSTEM_ERROR(first)) return std::strerror(ERR_GET_REASON(first));
  return "OpenSSL error " + std::to_string(ERR_GET_REASON(first));
}

std::unexpected<Error> openssl_failure(std::string_view what) {
  return fail(Code::Internal, std::string(what) + ": " + drain_errors());
}

std::string certificate_sha256(x509_st* certificate) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (X509_digest(certificate, EVP_sha256(), digest, &size) != 1) return {};
  return to_hex({digest, size});
}

std::string certificate_to_pem(x509_st* certificate) {
  const Owned<BIO, BIO_free_all> bio(BIO_new(BIO_s_mem()));
  if (!bio || PEM_write_bio_X509(bio.get(), certificate) != 1) return {};
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<size_t>(size)};
}

std::optional<Time> from_asn1(const ASN1_TIME* time) {
  std::tm parts{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) return std::nullopt;
  return Time(std::chrono::seconds(::timegm(&parts)));
}

std::string address_bytes(std::string_view text) {
  const std::string copy(text);
  unsigned char out[16];
  if (inet_pton(AF_INET, copy.c_str(), out) == 1) return {reinterpret_cast<char*>(out), 4};
  if (inet_pton(AF_INET6, copy.c_str(), out) == 1) return {reinterpret_cast<char*>(out), 16};
  return {};
}

std::string address_text(std::string_view bytes) {
  char out[INET6_ADDRSTRLEN];
  if (bytes.size() != 4 && bytes.size() != 16) return {};
  return inet_ntop(bytes.size() == 4 ? AF_INET : AF_INET6, bytes.data(), out, sizeof(out)) != nullptr ? out : "";
}

bool is_dns_name(std::string_view name) {
  if (name.starts_with("*.")) name.remove_prefix(2);
  if (name.empty() || name.size() > 253) return false;
  size_t label = 0;
  for (const char c : name) {
    if (c == '.') {
      if (label == 0) return false;
      label = 0;
      continue;
    }
    const bool allowed =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    if (!allowed || ++label > 63) return false;
  }
  return label > 0;
}

}  // namespace tapdeck::tls
