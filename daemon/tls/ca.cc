#include "daemon/tls/ca.h"

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <charconv>
#include <optional>

#include "daemon/base/log.h"
#include "daemon/base/whole_file.h"
#include "daemon/tls/ca_files.h"
#include "daemon/tls/openssl_util.h"
#include "daemon/tls/x509_build.h"

namespace tapdeck::tls {

namespace {

// Two years less a day for skew: the longest life that no client questions, and short enough that a lost CA dies.
constexpr std::chrono::days kCaLifetime{729};
constexpr std::chrono::days kCaBackdate{2};

// "192.0.2.0/24" as OpenSSL's "192.0.2.0/255.255.255.0".
std::optional<std::string> masked_network(std::string_view text) {
  const size_t slash = text.find('/');
  const std::string address = address_bytes(text.substr(0, slash));
  if (address.empty()) return std::nullopt;
  size_t bits = address.size() * 8;
  if (slash != std::string_view::npos) {
    const std::string_view suffix = text.substr(slash + 1);
    const auto parsed = std::from_chars(suffix.data(), suffix.data() + suffix.size(), bits);
    if (parsed.ec != std::errc() || parsed.ptr != suffix.data() + suffix.size()) return std::nullopt;
    if (bits > address.size() * 8) return std::nullopt;
  }
  std::string mask(address.size(), '\0');
  for (size_t i = 0; i < bits; ++i) mask[i / 8] = static_cast<char>(mask[i / 8] | (0x80 >> (i % 8)));
  return address_text(address) + "/" + address_text(mask);
}

Result<std::string> constraint_text(const std::vector<std::string>& hosts) {
  std::string text = "critical";
  bool any_address = false;
  bool any_name = false;
  for (const std::string& host : hosts) {
    const std::string_view name = host.starts_with("*.") ? std::string_view(host).substr(2) : std::string_view(host);
    if (const auto network = masked_network(host)) {
      text += ",permitted;IP:" + *network;
      any_address = true;
    } else if (is_dns_name(name) && !name.starts_with("*.")) {
      text += ",permitted;DNS:" + std::string(name);
      any_name = true;
    } else {
      return fail(Code::InvalidConfig, "name constraint '" + host + "': neither a host name nor a network");
    }
  }
  // A kind that is not mentioned is unconstrained (RFC 5280 4.2.1.10), so it is ruled out by name.
  if (!any_address) text += ",excluded;IP:0.0.0.0/0.0.0.0,excluded;IP:::/::";
  if (!any_name) text += ",permitted;DNS:invalid";
  return text;
}

Result<CertPtr> build_root(evp_pkey_st* key, const CaOptions& options) {
  const Time now = options.clock();
  TRY(certificate, begin_certificate(key, now - kCaBackdate, now - kCaBackdate + kCaLifetime));
  X509* raw = certificate.get();
  bool ok = set_common_name(raw, options.common_name) && X509_set_issuer_name(raw, X509_get_subject_name(raw)) == 1 &&
            add_extension(raw, raw, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
            add_extension(raw, raw, NID_key_usage, "critical,keyCertSign,cRLSign") &&
            add_extension(raw, raw, NID_subject_key_identifier, "hash");
  if (ok && !options.name_constraints.empty()) {
    TRY(text, constraint_text(options.name_constraints));
    ok = add_extension(raw, raw, NID_name_constraints, text);
  }
  if (!ok || !sign_certificate(raw, key)) return openssl_failure("CA certificate");
  return certificate;
}

Result<std::string> private_key_pem(evp_pkey_st* key) {
  const Owned<BIO, BIO_free_all> bio(BIO_new(BIO_s_secmem()));
  if (!bio || PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return openssl_failure("CA key");
  }
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return std::string(data, static_cast<size_t>(size));
}

// A key in a file is never encrypted here; without this, OpenSSL would ask the terminal for a pass phrase.
int no_passphrase(char* /*buffer*/, int /*size*/, int /*writing*/, void* /*argument*/) {
  return -1;
}

Result<KeyPtr> parse_key(std::string& pem, const std::string& path) {
  const Owned<BIO, BIO_free_all> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  KeyPtr key(bio ? PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr) : nullptr);
  const std::string reason = drain_errors();
  OPENSSL_cleanse(pem.data(), pem.size());
  if (!key)
    return fail(Code::InvalidConfig, "CA key " + path + ": not an unencrypted PEM private key (" + reason + ")");
  return key;
}

std::string date_of(Time time) {
  const std::chrono::year_month_day day{std::chrono::floor<std::chrono::days>(time)};
  const auto two_digits = [](unsigned number) { return (number < 10 ? "-0" : "-") + std::to_string(number); };
  return std::to_string(static_cast<int>(day.year())) + two_digits(static_cast<unsigned>(day.month())) +
         two_digits(static_cast<unsigned>(day.day()));
}

// Clients hold it against every certificate below.
bool is_for_servers(x509_st* certificate) {
  constexpr uint32_t kServers = XKU_SSL_SERVER | XKU_ANYEKU;
  return (X509_get_extension_flags(certificate) & EXFLAG_XKUSAGE) == 0 ||
         (X509_get_extended_key_usage(certificate) & kServers) != 0;
}

bool is_root(x509_st* certificate) {
  return X509_NAME_cmp(X509_get_subject_name(certificate), X509_get_issuer_name(certificate)) == 0;
}

// The first of the file, which is to be the CA, and those behind it.
struct CaFile {
  CertPtr certificate;
  std::vector<CertPtr> above;
};

Result<CaFile> read_certificates(const std::string& pem, const std::string& what) {
  const Owned<BIO, BIO_free_all> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  const auto next = [&bio] { return PEM_read_bio_X509(bio.get(), nullptr, no_passphrase, nullptr); };
  CaFile file;
  file.certificate.reset(bio ? next() : nullptr);
  if (!file.certificate) {
    return fail(Code::InvalidConfig, what + "not a PEM certificate (" + drain_errors() + ")");
  }
  while (X509* more = next()) file.above.emplace_back(more);
  forget_errors();
  return file;
}

Result<CaFile> parse_certificate(const std::string& pem, const std::string& path, Time now) {
  const std::string what = "CA certificate " + path + ": ";
  TRY(file, read_certificates(pem, what));
  const CertPtr& certificate = file.certificate;
  if (X509_check_ca(certificate.get()) != 1) return fail(Code::InvalidConfig, what + "not a CA certificate");
  if ((X509_get_key_usage(certificate.get()) & KU_KEY_CERT_SIGN) == 0) {
    return fail(Code::InvalidConfig, what + "its key usage does not allow signing certificates");
  }
  if (X509_get0_subject_key_id(certificate.get()) == nullptr) {
    return fail(Code::InvalidConfig, what + "it has no subject key identifier");
  }
  if (!is_for_servers(certificate.get())) {
    return fail(Code::InvalidConfig, what +
                                         "its extended key usage does not allow servers, so clients would refuse "
                                         "every certificate made with it");
  }
  const auto not_before = from_asn1(X509_get0_notBefore(certificate.get()));
  if (!not_before || *not_before > now) {
    return fail(Code::InvalidConfig, what + "is valid only from " +
                                         (not_before ? date_of(*not_before) : "a day unknown") +
                                         "; is this host's clock right?");
  }
  const auto not_after = from_asn1(X509_get0_notAfter(certificate.get()));
  if (!not_after || *not_after <= now) {
    return fail(Code::InvalidConfig, what + "expired; remove it and its key to make a new CA");
  }
  return file;
}

}  // namespace

struct CaBuilder {
  static std::unique_ptr<CertificateAuthority> wrap(CertPtr certificate, KeyPtr key, std::vector<CertPtr> above = {}) {
    return std::unique_ptr<CertificateAuthority>(
        new CertificateAuthority(std::move(certificate), std::move(key), std::move(above)));
  }
  static Result<std::unique_ptr<CertificateAuthority>> fresh(const CaOptions& options) {
    TRY(key, make_p256_key());
    TRY(certificate, build_root(key.get(), options));
    return wrap(std::move(certificate), std::move(key));
  }
};

CertificateAuthority::CertificateAuthority(CertPtr certificate, KeyPtr key, std::vector<CertPtr> above)
    : certificate_(std::move(certificate)),
      key_(std::move(key)),
      chain_(sk_X509_new_null(), [](stack_st_X509* chain) { sk_X509_pop_free(chain, X509_free); }),
      pem_(certificate_to_pem(certificate_.get())),
      fingerprint_(certificate_sha256(certificate_.get())),
      not_before_(from_asn1(X509_get0_notBefore(certificate_.get())).value_or(Time{})),
      not_after_(from_asn1(X509_get0_notAfter(certificate_.get())).value_or(Time{})) {
  const auto send = [this](x509_st* sent) {
    // A client has the root, or none of it counts.
    if (is_root(sent) || X509_up_ref(sent) != 1) return;
    if (sk_X509_push(chain_.get(), sent) == 0) X509_free(sent);
  };
  send(certificate_.get());
  if (is_root(certificate_.get())) return;
  for (const CertPtr& higher : above) send(higher.get());
}

CertificateAuthority::~CertificateAuthority() = default;

Result<std::unique_ptr<CertificateAuthority>> CertificateAuthority::create_in_memory(const CaOptions& options) {
  return CaBuilder::fresh(options);
}

Result<std::unique_ptr<CertificateAuthority>> CertificateAuthority::create_untrusted(const Clock& clock) {
  return CaBuilder::fresh({{}, clock, "tapdeck: upstream certificate did not verify"});
}

Result<std::unique_ptr<CertificateAuthority>> CertificateAuthority::load_or_create(const std::string& cert_path,
                                                                                   const std::string& key_path,
                                                                                   const CaOptions& options) {
  TRY(lock, lock_folder_of(key_path));
  TRY(key_pem, read_small_file(key_path, Secrecy::OwnerOnly));
  TRY(cert_pem, read_small_file(cert_path, Secrecy::Public));
  if (!key_pem && !cert_pem) {
    TRY(made, CaBuilder::fresh(options));
    TRY(secret, private_key_pem(made->key()));
    const auto written = replace_file(key_path, secret, 0600, Sync::Name);
    OPENSSL_cleanse(secret.data(), secret.size());
    TRY_VOID(written);
    TRY_VOID(replace_file(cert_path, made->certificate_pem(), 0644, Sync::Name));
    return made;
  }
  if (!key_pem || !cert_pem) {
    const std::string& missing = key_pem ? cert_path : key_path;
    const std::string& present = key_pem ? key_path : cert_path;
    return fail(Code::NotFound, "CA file " + missing + ": missing, but " + present +
                                    " is there; restore it, or remove the other to make a new CA");
  }
  TRY(key, parse_key(*key_pem, key_path));
  TRY(file, parse_certificate(*cert_pem, cert_path, options.clock()));
  if (X509_check_private_key(file.certificate.get(), key.get()) != 1) {
    ERR_clear_error();
    return fail(Code::InvalidConfig, "CA key " + key_path + ": not the key of the certificate " + cert_path);
  }
  auto loaded = CaBuilder::wrap(std::move(file.certificate), std::move(key), std::move(file.above));
  TRY(as_configured, loaded->has_constraints(options.name_constraints));
  if (!as_configured) {
    log::warn("tls.ca_constraints",
              "tls.name_constraints is not what this CA was made with, and does not change it: make a new one for that",
              {{"ca", cert_path}});
  }
  return loaded;
}

Result<bool> CertificateAuthority::has_constraints(const std::vector<std::string>& name_constraints) const {
  const int at = X509_get_ext_by_NID(certificate_.get(), NID_name_constraints, -1);
  if (name_constraints.empty() || at < 0) return name_constraints.empty() && at < 0;
  TRY(text, constraint_text(name_constraints));
  const CertPtr other(X509_new());
  if (!other || !add_extension(other.get(), other.get(), NID_name_constraints, text)) {
    return openssl_failure("name constraints");
  }
  const ASN1_STRING* mine = X509_EXTENSION_get_data(X509_get_ext(certificate_.get(), at));
  return ASN1_STRING_cmp(mine, X509_EXTENSION_get_data(X509_get_ext(other.get(), 0))) == 0;
}

}  // namespace tapdeck::tls
