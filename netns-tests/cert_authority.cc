#include "netns-tests/cert_authority.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "netns-tests/lab_error.h"

namespace tapdeck::lab {
namespace {

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Cert = std::unique_ptr<X509, decltype(&X509_free)>;

Key make_key() {
  return {EVP_EC_gen("P-256"), &EVP_PKEY_free};
}

void add_extension(X509* cert, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, cert, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  if (extension == nullptr) raise("certificate extension " + value);
  X509_add_ext(cert, extension, -1);
  X509_EXTENSION_free(extension);
}

Cert make_cert(const std::string& name, long serial, EVP_PKEY* key, std::chrono::seconds from,
               std::chrono::seconds to) {
  Cert cert(X509_new(), &X509_free);
  X509_set_version(cert.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(cert.get()), serial);
  X509_gmtime_adj(X509_getm_notBefore(cert.get()), from.count());
  X509_gmtime_adj(X509_getm_notAfter(cert.get()), to.count());
  X509_NAME_add_entry_by_txt(X509_get_subject_name(cert.get()), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  X509_set_pubkey(cert.get(), key);
  return cert;
}

void write_pem(const std::filesystem::path& file, const auto& write) {
  std::unique_ptr<FILE, int (*)(FILE*)> out(std::fopen(file.c_str(), "w"), &std::fclose);
  if (!out || write(out.get()) != 1) raise("cannot write " + file.string());
}

}  // namespace

struct CertAuthority::Keys {
  Key key = make_key();
  Cert cert = make_cert("tapdeck lab CA", 1, key.get(), std::chrono::hours(-1), std::chrono::hours(240));
};

CertAuthority::CertAuthority(const std::filesystem::path& directory)
    : directory_(directory), keys_(std::make_unique<Keys>()) {
  X509* ca = keys_->cert.get();
  X509_set_issuer_name(ca, X509_get_subject_name(ca));
  add_extension(ca, ca, NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
  add_extension(ca, ca, NID_key_usage, "critical,keyCertSign,cRLSign");
  add_extension(ca, ca, NID_subject_key_identifier, "hash");
  X509_sign(ca, keys_->key.get(), EVP_sha256());
  write_pem(certificate(), [&](FILE* file) { return PEM_write_X509(file, ca); });
}

CertAuthority::~CertAuthority() = default;

Leaf CertAuthority::issue(const LeafOptions& options) {
  const auto key = make_key();
  const long serial = ++serial_;
  const auto name = !options.dns.empty() ? options.dns[0] : "leaf";
  const auto cert = make_cert(name, serial, key.get(), options.valid_from, options.valid_to);
  X509* issuer = options.self_signed ? cert.get() : keys_->cert.get();
  X509_set_issuer_name(cert.get(), X509_get_subject_name(issuer));
  std::string san;
  for (const auto& dns : options.dns) san += (san.empty() ? "DNS:" : ",DNS:") + dns;
  for (const auto& ip : options.ips) san += (san.empty() ? "IP:" : ",IP:") + ip;
  add_extension(cert.get(), issuer, NID_basic_constraints, "critical,CA:FALSE");
  add_extension(cert.get(), issuer, NID_key_usage, "critical,digitalSignature");
  add_extension(cert.get(), issuer, NID_ext_key_usage, "serverAuth");
  add_extension(cert.get(), issuer, NID_subject_key_identifier, "hash");
  add_extension(cert.get(), issuer, NID_authority_key_identifier, "keyid");
  if (!san.empty()) add_extension(cert.get(), issuer, NID_subject_alt_name, san);
  X509_sign(cert.get(), options.self_signed ? key.get() : keys_->key.get(), EVP_sha256());
  const auto stem = "leaf-" + std::to_string(serial);
  Leaf leaf{directory_ / (stem + ".pem"), directory_ / (stem + ".key")};
  write_pem(leaf.certificate, [&](FILE* file) { return PEM_write_X509(file, cert.get()); });
  write_pem(leaf.key,
            [&](FILE* file) { return PEM_write_PrivateKey(file, key.get(), nullptr, nullptr, 0, nullptr, nullptr); });
  return leaf;
}

}  // namespace tapdeck::lab
