#include "daemon/tls/verify.h"

#include <algorithm>
#include <array>
#include <utility>

namespace tapdeck::tls {

namespace {

constexpr std::array<std::pair<VerifyFailure, std::string_view>, 8> kNames{{
    {VerifyFailure::None, "none"},
    {VerifyFailure::SelfSigned, "self_signed"},
    {VerifyFailure::UntrustedIssuer, "untrusted_issuer"},
    {VerifyFailure::Revoked, "revoked"},
    {VerifyFailure::Other, "other"},
    {VerifyFailure::WrongName, "wrong_name"},
    {VerifyFailure::Expired, "expired"},
    {VerifyFailure::NotYetValid, "not_yet_valid"},
}};

}  // namespace

std::string_view to_string(VerifyFailure failure) {
  return kNames[static_cast<size_t>(failure)].second;
}

std::optional<VerifyFailure> verify_failure_from(std::string_view text) {
  for (const auto& [failure, name] : kNames) {
    if (name == text) return failure;
  }
  return std::nullopt;
}

bool PeerReport::has(VerifyFailure kind) const {
  return failure == kind || std::ranges::find(also, kind) != also.end();
}

std::string failures_of(const PeerReport& report) {
  std::string text(to_string(report.failure));
  for (const VerifyFailure kind : report.also) text.append("+").append(to_string(kind));
  return text;
}

std::optional<PeerReport> report_from(std::string_view failures) {
  PeerReport report;
  while (true) {
    const size_t end = std::min(failures.find('+'), failures.size());
    const auto kind = verify_failure_from(failures.substr(0, end));
    if (!kind || *kind == VerifyFailure::None) return std::nullopt;
    if (report.failure == VerifyFailure::None) {
      report.failure = *kind;
    } else {
      report.also.push_back(*kind);
    }
    if (end == failures.size()) return report;
    failures.remove_prefix(end + 1);
  }
}

}  // namespace tapdeck::tls
