// CertificateAuthority: the ECDSA P-256 root that signs our leaves. One per install, made on first use and kept in two
// files; a second one, in memory only and trusted by nobody, signs what must fail at the client.
//
// It does not mint (cert_mint.h) and does not install trust (daemon/trust). Owner: the app. Thread: immutable after
// creation, any thread may use it.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/result.h"
#include "daemon/tls/clock.h"
#include "daemon/tls/openssl_fwd.h"

namespace tapdeck::tls {

struct CaOptions {
  // Hosts the CA may speak for: "example.com" (and all below it), "192.0.2.0/24", "2001:db8::/32". Empty: no
  // constraint. A list without addresses excludes every address, so that IP leaves cannot slip past a list of names.
  // Used only when the CA is made; an existing CA keeps its own.
  std::vector<std::string> name_constraints;
  Clock clock = system_now;
  std::string common_name = "tapdeck CA";
};

class CertificateAuthority {
 public:
  // Reads the pair, or makes it when both files are missing: key first (0600), then certificate (0644), each written to
  // a temporary name, fsynced and renamed into place under a lock on the folder, so that files are whole after a crash
  // and two processes that start at once agree on one CA. The folder must exist. A crash between the two leaves a key
  // alone, which is refused like any half of a pair.
  // The certificate file may hold the chain behind an intermediate CA, which is then sent with its leaves.
  // Errors, one line each naming the path: NotFound (one of the two is missing), Permission (unreadable, or the key
  // is readable by group or others), InvalidConfig (not PEM, not a CA, not one for servers, expired, key of another
  // certificate), Io.
  [[nodiscard]] static Result<std::unique_ptr<CertificateAuthority>> load_or_create(const std::string& cert_path,
                                                                                    const std::string& key_path,
                                                                                    const CaOptions& options);
  // In memory, with a name that says what it is. Never give its certificate to anybody.
  [[nodiscard]] static Result<std::unique_ptr<CertificateAuthority>> create_untrusted(const Clock& clock = system_now);
  // In memory, otherwise as load_or_create makes it: for tests and `tapdeck run` without a state folder.
  [[nodiscard]] static Result<std::unique_ptr<CertificateAuthority>> create_in_memory(const CaOptions& options);

  ~CertificateAuthority();
  CertificateAuthority(const CertificateAuthority&) = delete;
  CertificateAuthority& operator=(const CertificateAuthority&) = delete;

  // Without the chain.
  [[nodiscard]] const std::string& certificate_pem() const { return pem_; }
  // SHA-256 of the DER certificate, lower-case hex, 64 characters.
  [[nodiscard]] const std::string& fingerprint() const { return fingerprint_; }
  [[nodiscard]] Time not_before() const { return not_before_; }
  [[nodiscard]] Time not_after() const { return not_after_; }
  // It was made with these constraints, or with none for an empty list. Errors: InvalidConfig, for a bad one.
  [[nodiscard]] Result<bool> has_constraints(const std::vector<std::string>& name_constraints) const;

  // For this folder only.
  [[nodiscard]] x509_st* certificate() const { return certificate_.get(); }
  [[nodiscard]] evp_pkey_st* key() const { return key_.get(); }
  // What a server sends behind a leaf: nothing for a root. Never null.
  [[nodiscard]] const std::shared_ptr<stack_st_X509>& chain() const { return chain_; }

 private:
  CertificateAuthority(CertPtr certificate, KeyPtr key, std::vector<CertPtr> above);
  friend struct CaBuilder;

  CertPtr certificate_;
  KeyPtr key_;
  std::shared_ptr<stack_st_X509> chain_;
  std::string pem_;
  std::string fingerprint_;
  Time not_before_{};
  Time not_after_{};
};

}  // namespace tapdeck::tls
