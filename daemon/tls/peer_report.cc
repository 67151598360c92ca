#include "daemon/tls/peer_report.h"

#include <openssl/x509v3.h>

#include "daemon/tls/openssl_util.h"

namespace tapdeck::tls {

namespace {

constexpr int kMaxNames = 64;
constexpr size_t kMaxCommonName = 64;  // ub-common-name, RFC 5280 appendix A.1

VerifyFailure kind_of(int error) {
  switch (error) {
    case X509_V_OK:
      return VerifyFailure::None;
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return VerifyFailure::Expired;
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return VerifyFailure::NotYetValid;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return VerifyFailure::WrongName;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
      return VerifyFailure::SelfSigned;
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_UNTRUSTED:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
      return VerifyFailure::UntrustedIssuer;
    case X509_V_ERR_CERT_REVOKED:
      return VerifyFailure::Revoked;
    default:
      return VerifyFailure::Other;
  }
}

// A leaf signed by itself yields both DEPTH_ZERO_SELF_SIGNED_CERT and errors that follow from it; the order of the enum
// sorts that out.
struct Collected {
  PeerReport* report;
  int error = X509_V_OK;
};

// The gravest leads. Of those behind it only what a client may judge by itself is kept: failures of the chain follow
// from one another.
void add(PeerReport& report, VerifyFailure kind) {
  if (report.has(kind)) return;
  const VerifyFailure lesser =
      report.failure == VerifyFailure::None ? VerifyFailure::None : std::max(report.failure, kind);
  report.failure = report.failure == VerifyFailure::None ? kind : std::min(report.failure, kind);
  if (lesser < VerifyFailure::WrongName) return;
  report.also.push_back(lesser);
  std::ranges::sort(report.also);
}

int collect_index() {
  static const int index = X509_STORE_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

int collect(int ok, X509_STORE_CTX* chain) {
  if (ok == 1) return 1;
  auto& all = *static_cast<Collected*>(X509_STORE_CTX_get_ex_data(chain, collect_index()));
  const int error = X509_STORE_CTX_get_error(chain);
  const VerifyFailure kind = kind_of(error);
  PeerReport& report = *all.report;
  const bool was_dated = report.has(VerifyFailure::Expired) || report.has(VerifyFailure::NotYetValid);
  const bool is_grave = report.failure == VerifyFailure::None || kind < report.failure;
  add(report, kind);
  const bool dates = kind == VerifyFailure::Expired || kind == VerifyFailure::NotYetValid;
  X509* culprit = X509_STORE_CTX_get_current_cert(chain);
  if (culprit != nullptr && dates && !was_dated) {
    report.not_before = from_asn1(X509_get0_notBefore(culprit)).value_or(Time{});
    report.not_after = from_asn1(X509_get0_notAfter(culprit)).value_or(Time{});
  }
  if (!is_grave) return 1;
  all.error = error;
  report.detail = std::string(X509_verify_cert_error_string(error)) + " (depth " +
                  std::to_string(X509_STORE_CTX_get_error_depth(chain)) + ")";
  return 1;
}

std::string_view bytes_of(const ASN1_STRING* text) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)), static_cast<size_t>(ASN1_STRING_length(text))};
}

// The first; empty unless it could be a host name.
std::string common_name_of(x509_st* leaf) {
  const X509_NAME* subject = X509_get_subject_name(leaf);
  const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at < 0) return {};
  const std::string_view text = bytes_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
  return text.size() <= kMaxCommonName && is_dns_name(text) ? std::string(text) : std::string();
}

}  // namespace

void describe_leaf(x509_st* leaf, PeerReport& report) {
  report.sha256 = certificate_sha256(leaf);
  report.not_before = from_asn1(X509_get0_notBefore(leaf)).value_or(Time{});
  report.not_after = from_asn1(X509_get0_notAfter(leaf)).value_or(Time{});
  const Owned<GENERAL_NAMES, GENERAL_NAMES_free> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(leaf, NID_subject_alt_name, nullptr, nullptr)));
  const int count = names ? std::min(sk_GENERAL_NAME_num(names.get()), kMaxNames) : 0;
  bool has_dns_name = false;
  for (int i = 0; i < count; ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    has_dns_name = has_dns_name || name->type == GEN_DNS;
    if (name->type == GEN_DNS && is_dns_name(bytes_of(name->d.dNSName))) {
      report.dns_names.emplace_back(bytes_of(name->d.dNSName));
    } else if (name->type == GEN_IPADD) {
      if (std::string ip = address_text(bytes_of(name->d.iPAddress)); !ip.empty()) report.ips.push_back(std::move(ip));
    }
  }
  if (!has_dns_name) report.common_name = common_name_of(leaf);
}

bool verify_chain(X509_STORE_CTX* chain, PeerReport& report) {
  report = {};
  if (X509* leaf = X509_STORE_CTX_get0_cert(chain)) describe_leaf(leaf, report);
  Collected all{&report};
  X509_STORE_CTX_set_ex_data(chain, collect_index(), &all);
  X509_STORE_CTX_set_verify_cb(chain, collect);
  const bool finished = X509_verify_cert(chain) == 1;
  X509_STORE_CTX_set_ex_data(chain, collect_index(), nullptr);
  if (finished && report.failure == VerifyFailure::None) {
    X509_STORE_CTX_set_error(chain, X509_V_OK);
    return true;
  }
  if (report.failure == VerifyFailure::None) {
    all.error = X509_STORE_CTX_get_error(chain);
    if (all.error == X509_V_OK) all.error = X509_V_ERR_UNSPECIFIED;
    report.failure = kind_of(all.error);
    report.detail = X509_verify_cert_error_string(all.error);
  }
  X509_STORE_CTX_set_error(chain, all.error);
  return false;
}

}  // namespace tapdeck::tls
