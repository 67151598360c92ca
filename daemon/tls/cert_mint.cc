#include "daemon/tls/cert_mint.h"

#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>

#include "daemon/tls/openssl_util.h"
#include "daemon/tls/x509_build.h"

namespace tapdeck::tls {

namespace {

constexpr size_t kMaxNames = 100;
constexpr size_t kMaxCommonName = 64;  // ub-common-name, RFC 5280 appendix A.1

Result<void> check(const LeafSpec& spec) {
  const bool has_common_name = !spec.common_name.empty();
  if (has_common_name && (spec.common_name.size() > kMaxCommonName || !is_dns_name(spec.common_name))) {
    return fail(Code::InvalidArgument, "a leaf's common name is a host name of at most 64 bytes");
  }
  const size_t count = spec.dns_names.size() + spec.ips.size() + (has_common_name ? 1 : 0);
  if (count == 0 || count > kMaxNames) return fail(Code::InvalidArgument, "a leaf carries 1 to 100 names");
  for (const std::string& name : spec.dns_names) {
    if (!is_dns_name(name)) return fail(Code::InvalidArgument, "a leaf cannot carry a name that is no host name");
  }
  for (const std::string& ip : spec.ips) {
    if (address_bytes(ip).empty()) return fail(Code::InvalidArgument, "a leaf cannot carry '" + ip + "' as an address");
  }
  return {};
}

LeafSpec::Validity validity_of(const LeafSpec& spec, const MintOptions& options) {
  if (spec.validity) return *spec.validity;
  const Time now = options.now;
  switch (spec.shape) {
    case LeafShape::Expired:
      return {now - std::chrono::days(1) - options.lifetime, now - std::chrono::days(1)};
    case LeafShape::NotYetValid:
      return {now + std::chrono::days(1), now + std::chrono::days(1) + options.lifetime};
    default:
      break;
  }
  const std::chrono::seconds lifetime = options.lifetime;
  const Time begin = now - std::min(options.backdate, lifetime / 2);
  return {begin, begin + lifetime};
}

bool push_name(GENERAL_NAMES* names, int type, std::string_view bytes) {
  Owned<GENERAL_NAME, GENERAL_NAME_free> name(GENERAL_NAME_new());
  ASN1_STRING* text = type == GEN_DNS ? ASN1_IA5STRING_new() : ASN1_OCTET_STRING_new();
  if (!name || text == nullptr || ASN1_STRING_set(text, bytes.data(), static_cast<int>(bytes.size())) != 1) {
    ASN1_STRING_free(text);
    return false;
  }
  GENERAL_NAME_set0_value(name.get(), type, text);
  if (sk_GENERAL_NAME_push(names, name.get()) == 0) return false;
  (void)name.release();
  return true;
}

// Built from bytes, never through OpenSSL's configuration syntax, in which a name could smuggle a second one.
bool add_names(X509* certificate, const LeafSpec& spec) {
  if (spec.dns_names.empty() && spec.ips.empty()) return true;
  const Owned<GENERAL_NAMES, GENERAL_NAMES_free> names(GENERAL_NAMES_new());
  if (!names) return false;
  for (const std::string& name : spec.dns_names) {
    if (!push_name(names.get(), GEN_DNS, name)) return false;
  }
  for (const std::string& ip : spec.ips) {
    if (!push_name(names.get(), GEN_IPADD, address_bytes(ip))) return false;
  }
  return X509_add1_ext_i2d(certificate, NID_subject_alt_name, names.get(), 0, X509V3_ADD_DEFAULT) == 1;
}

}  // namespace

LeafSpec leaf_for(std::string_view host_or_ip) {
  LeafSpec spec;
  if (!address_bytes(host_or_ip).empty()) {
    spec.ips.emplace_back(host_or_ip);
  } else {
    if (host_or_ip.ends_with('.')) host_or_ip.remove_suffix(1);
    spec.dns_names.emplace_back(host_or_ip);
  }
  return spec;
}

LeafSpec leaf_without_san(std::string_view host_or_ip) {
  LeafSpec spec = leaf_for(host_or_ip);
  if (spec.dns_names.empty() || spec.dns_names.front().size() > kMaxCommonName) return spec;
  spec.common_name = std::move(spec.dns_names.front());
  spec.dns_names.clear();
  return spec;
}

namespace {

LeafShape shape_of(VerifyFailure failure) {
  switch (failure) {
    case VerifyFailure::None:
      return LeafShape::Good;
    case VerifyFailure::SelfSigned:
      return LeafShape::SelfSigned;
    case VerifyFailure::UntrustedIssuer:
    case VerifyFailure::Revoked:
    case VerifyFailure::Other:
      return LeafShape::UntrustedIssuer;
    case VerifyFailure::WrongName:
      return LeafShape::WrongName;
    case VerifyFailure::Expired:
      return LeafShape::Expired;
    case VerifyFailure::NotYetValid:
      return LeafShape::NotYetValid;
  }
  return LeafShape::UntrustedIssuer;
}

// Names that cannot be shown, or would turn the failure into a success, give way to one that nobody can own.
void set_wrong_names(LeafSpec& spec, std::string_view host_or_ip, const PeerReport& report) {
  spec.dns_names = report.dns_names;
  spec.ips = report.ips;
  spec.common_name = report.dns_names.empty() ? report.common_name : std::string();
  const auto same = [&](const std::string& name) { return name == host_or_ip; };
  const bool is_named = spec.dns_names.size() + spec.ips.size() > 0 || !spec.common_name.empty();
  const bool is_wrong =
      std::ranges::none_of(spec.dns_names, same) && std::ranges::none_of(spec.ips, same) && !same(spec.common_name);
  if (is_named && is_wrong) return;
  spec.dns_names = {"wrong-name.invalid"};
  spec.ips.clear();
  spec.common_name.clear();
}

// The report's, where they show the failure. Else none for a leaf whose shape alone has to say it, and for others some
// that stay the same for a day, as a leaf is kept by them.
std::optional<LeafSpec::Validity> wrong_dates(const PeerReport& report, Time now) {
  using std::chrono::days;
  const bool is_past = report.has(VerifyFailure::Expired);
  if (!is_past && !report.has(VerifyFailure::NotYetValid)) return std::nullopt;
  const bool shows = is_past ? report.not_after < now : report.not_before > now;
  if (shows && report.not_before < report.not_after) return LeafSpec::Validity{report.not_before, report.not_after};
  if (report.failure == VerifyFailure::Expired || report.failure == VerifyFailure::NotYetValid) return std::nullopt;
  const Time today = std::chrono::floor<days>(now);
  return is_past ? LeafSpec::Validity{today - days(8), today - days(1)}
                 : LeafSpec::Validity{today + days(2), today + days(9)};
}

}  // namespace

LeafSpec mirror_leaf(std::string_view host_or_ip, const PeerReport& report, Time now) {
  LeafSpec spec = report.common_name.empty() ? leaf_for(host_or_ip) : leaf_without_san(host_or_ip);
  spec.shape = shape_of(report.failure);
  if (report.has(VerifyFailure::WrongName)) set_wrong_names(spec, host_or_ip, report);
  spec.validity = wrong_dates(report, now);
  return spec;
}

Result<Leaf> mint(const CertificateAuthority& issuer, const LeafSpec& spec, const MintOptions& options) {
  TRY_VOID(check(spec));
  LeafSpec::Validity validity = validity_of(spec, options);
  // Path checks in some clients want the leaf inside its issuer's life.
  const bool own = spec.shape == LeafShape::SelfSigned;
  if (!own && !spec.validity) validity.not_after = std::min(validity.not_after, issuer.not_after());
  Leaf leaf{nullptr, nullptr, own ? nullptr : issuer.chain(), validity.not_before, validity.not_after};
  TRY(key, make_p256_key());
  TRY(certificate, begin_certificate(key.get(), leaf.not_before, leaf.not_after));
  X509* raw = certificate.get();
  // Never an address: checkers of name constraints take a common name for a host name unless it has a space. Never
  // empty: it is also the issuer of a self-signed leaf.
  std::string_view common_name = spec.common_name;
  if (common_name.empty()) {
    const bool fits = !spec.dns_names.empty() && spec.dns_names.front().size() <= kMaxCommonName;
    common_name = fits ? std::string_view(spec.dns_names.front()) : "see subject alternative name";
  }
  X509* parent = own ? raw : issuer.certificate();
  // The subject key identifier comes first: a self-signed leaf's authority identifier is copied from it.
  const bool ok = set_common_name(raw, common_name) && X509_set_issuer_name(raw, X509_get_subject_name(parent)) == 1 &&
                  add_extension(raw, parent, NID_basic_constraints, "critical,CA:FALSE") &&
                  add_extension(raw, parent, NID_key_usage, "critical,digitalSignature") &&
                  add_extension(raw, parent, NID_ext_key_usage, "serverAuth") &&
                  add_extension(raw, parent, NID_subject_key_identifier, "hash") &&
                  add_extension(raw, parent, NID_authority_key_identifier, "keyid:always") && add_names(raw, spec) &&
                  sign_certificate(raw, own ? key.get() : issuer.key());
  if (!ok) return openssl_failure("leaf certificate");
  leaf.certificate = std::move(certificate);
  leaf.key = std::move(key);
  return leaf;
}

}  // namespace tapdeck::tls
