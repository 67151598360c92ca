// What a failed handshake of a client's says of it, for metrics and log, and a good one of its origin. Thread: any.
#pragma once

#include <string>
#include <string_view>

#include "daemon/base/endpoint.h"
#include "daemon/base/metrics.h"
#include "daemon/base/result.h"
#include "daemon/server/judgements.h"
#include "daemon/tls/tls_session.h"

namespace tapdeck::server {

struct FailedHandshake {
  const tls::TlsSession& session;
  const Error& error;
  std::string_view sni;
  Endpoint client;
  std::string_view mirrors;  // what is wrong with the origin's certificate and so with the leaf; empty: nothing
  bool had_left = false;     // the client, before it could be shown anything
  bool timed_out = false;
};

enum class HandshakeVerdict {
  OriginUnverified,   // it refuses what it would refuse without us
  RejectedCa,         // it says that it does not want our certificate
  LeftAtCertificate,  // it was shown our certificate and closed, without a word: most likely the same
  Unneeded,           // so too, but by one that has taken our certificate: it had no use for the connection
  NoAgreement,        // version, cipher suites, signature algorithms ..., or what came is no TLS
  Other,              // it left before, or was too slow
};

// Of this connection alone: never Unneeded.
[[nodiscard]] HandshakeVerdict judge(const FailedHandshake& failed);
// `who`: whose it is, see judge_of(). Null judgements: nothing is known of others of that one.
void tell(const FailedHandshake& failed, const std::string& who, Judgements* judgements, Metrics& metrics);
// A handshake was good though its leaf shows how the origin's certificate failed (`mirrors`): such a client does not
// look, or only now (curl looks at names so).
void tell_unverified(std::string_view sni, const Endpoint& client, std::string_view mirrors);
// The client is shown an ordinary leaf though the origin's certificate failed (`failure`): its requests are told.
void tell_unverified_by_answer(std::string_view sni, const Endpoint& client, std::string_view failure);

}  // namespace tapdeck::server
