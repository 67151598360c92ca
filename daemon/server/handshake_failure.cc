#include "daemon/server/handshake_failure.h"

#include "daemon/base/log.h"

namespace tapdeck::server {

HandshakeVerdict judge(const FailedHandshake& failed) {
  const Code code = failed.error.code;
  const bool rejected = failed.session.peer_rejected_certificate();
  const bool is_end = code == Code::Truncated || code == Code::Reset || code == Code::Closed;
  const bool left = is_end && !failed.timed_out && !failed.had_left && failed.session.awaits_judgement();
  if ((rejected || left) && !failed.mirrors.empty()) return HandshakeVerdict::OriginUnverified;
  if (rejected) return HandshakeVerdict::RejectedCa;
  if (left) return HandshakeVerdict::LeftAtCertificate;
  return code == Code::Tls && !failed.timed_out ? HandshakeVerdict::NoAgreement : HandshakeVerdict::Other;
}

namespace {

constexpr std::string_view kUnverified = "tls.origin_unverified";

struct Telling {
  Counter counter;
  std::string_view event, message;
};

Telling telling_of(HandshakeVerdict verdict) {
  switch (verdict) {
    case HandshakeVerdict::OriginUnverified:
      return {Counter::TlsDownError, kUnverified,
              "the origin's certificate does not verify, and the client refuses it as it would without tapdeck (an "
              "issuer of your own: --upstream-ca FILE or tls.upstream_ca; an origin to leave alone: bypass)"};
    case HandshakeVerdict::RejectedCa:
      return {Counter::TlsDownRejectedCa, "tls.client_rejected_ca",
              "the client refused the certificate made for it: it does not trust the tapdeck CA (tapdeck ca export), "
              "or demands more than that"};
    case HandshakeVerdict::LeftAtCertificate:
      return {Counter::TlsDownLeft, "tls.client_left_at_certificate",
              "the client closed the connection when it had been shown the certificate made for it: most likely it "
              "does not trust the tapdeck CA (tapdeck ca export), and says so by no alert"};
    case HandshakeVerdict::Unneeded:
      return {Counter::TlsDownError, "tls.client_left",
              "a client closed a connection when it had been shown the certificate made for it, which it has taken on "
              "another"};
    case HandshakeVerdict::NoAgreement:
      return {Counter::TlsDownNoAgreement, "tls.client_handshake_failed",
              "a client's TLS handshake failed: the two sides could not agree (one to let through as it is: bypass)"};
    case HandshakeVerdict::Other:
      break;
  }
  return {Counter::TlsDownError, "tls.client_handshake_failed", "a client's TLS handshake failed"};
}

}  // namespace

void tell(const FailedHandshake& failed, const std::string& who, Judgements* judgements, Metrics& metrics) {
  HandshakeVerdict verdict = judge(failed);
  const bool left = verdict == HandshakeVerdict::LeftAtCertificate;
  if (left && judgements != nullptr && judgements->left(who)) verdict = HandshakeVerdict::Unneeded;
  const Telling telling = telling_of(verdict);
  metrics.add(telling.counter);
  if (failed.timed_out) metrics.add(Counter::LimitTlsTimeout);
  const bool is_origins = verdict == HandshakeVerdict::OriginUnverified;
  log::peer(verdict == HandshakeVerdict::Unneeded ? log::Level::Info : log::Level::Warn, telling.event, telling.message,
            {{"sni", failed.sni},
             {"client", failed.client.to_string()},
             {is_origins ? "failure" : "error", is_origins ? std::string(failed.mirrors) : failed.error.message()}});
}

void tell_unverified(std::string_view sni, const Endpoint& client, std::string_view mirrors) {
  log::peer(log::Level::Warn, kUnverified,
            "the origin's certificate does not verify, nor does what the client was shown for it: the client does not "
            "check that, or refuses it only now (an issuer of your own: --upstream-ca FILE or tls.upstream_ca; an "
            "origin to leave alone: bypass)",
            {{"sni", sni}, {"client", client.to_string()}, {"failure", mirrors}});
}

void tell_unverified_by_answer(std::string_view sni, const Endpoint& client, std::string_view failure) {
  log::peer(
      log::Level::Warn, kUnverified,
      "the origin's certificate does not verify: what the client asks of it is answered with 502, as "
      "tls.on_bad_upstream says (an issuer of your own: --upstream-ca FILE or tls.upstream_ca; an origin to leave "
      "alone: bypass)",
      {{"sni", sni}, {"client", client.to_string()}, {"failure", failure}});
}

}  // namespace tapdeck::server
