#include "daemon/tls/verify.h"

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

}  // namespace tapdeck::tls
