// TlsSession: one TLS connection without a socket, in either role. Ciphertext goes in and out through two ByteQueues
// that OpenSSL reads and writes directly; the owner moves them from and to its socket.
//
//   read socket -> cipher_in();  advance(plain);  cipher_out() -> write socket;  look at state()
//
// It never blocks, dials, times out or retries; it knows no HTTP. Owner: one connection. Thread: the Worker's; sessions
// are independent, the contexts they share are thread-safe and must outlive them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/byte_queue.h"
#include "daemon/base/result.h"
#include "daemon/tls/client_context.h"
#include "daemon/tls/leaf_cache.h"
#include "daemon/tls/openssl_fwd.h"
#include "daemon/tls/server_context.h"
#include "daemon/tls/verify.h"

namespace tapdeck::tls {

struct ServerSetup {
  const ServerContext* context = nullptr;
  std::shared_ptr<const ServerCredential> credential{};
  // The SNI of the client (empty: none). With `alpn` and `policy` it bounds resumption: a ticket issued under one
  // combination gets a full handshake under any other.
  std::string server_name{};
  // The one protocol to answer if the client offers it; empty: none. A client that offers only others gets no answer
  // (no alert): the owner decided from the peeked ClientHello.
  std::string alpn{};
  // Whatever else the session was decided by: the leaf's shape, session name, mode.
  std::string policy{};
};

// Whether a session of the cache may be resumed. A resumption shows no certificate and asks for none: it proves nothing
// that was not known before.
enum class Resume { Yes, No };

struct ClientSetup {
  const UpstreamTrust* trust = nullptr;
  // Sent as SNI and verified against the SANs. A textual address here (or an empty name) sends no SNI.
  std::string server_name{};
  // Verified instead when server_name is empty. One of the two is required.
  std::string address{};
  std::vector<std::string> alpn{};  // offered in this order; empty: extension absent
  // Resumption; both or none. The key must name everything that trust depends on: address, SNI, ALPN.
  ClientSessionCache* cache = nullptr;
  std::string cache_key{};
  Resume resume = Resume::Yes;  // No: a full handshake, whose session is kept all the same
};

class TlsSession {
 public:
  enum class State {
    Handshaking,
    Open,
    PeerClosed,  // the peer ended its direction; encrypt() still works (TLS 1.3 half-close)
    Closed,      // both directions closed in order
    Failed,      // an error was returned; cipher_out() may hold an alert worth sending
  };

  [[nodiscard]] static Result<std::unique_ptr<TlsSession>> accept(ServerSetup setup);
  [[nodiscard]] static Result<std::unique_ptr<TlsSession>> connect(ClientSetup setup);
  ~TlsSession();
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;

  [[nodiscard]] ByteQueue& cipher_in() { return cipher_in_; }
  [[nodiscard]] ByteQueue& cipher_out() { return cipher_out_; }

  // Handshakes as far as the bytes allow (a client's first call writes its ClientHello), then decrypts into `plain_out`
  // until cipher_in() holds no whole record or at least `max_plain` bytes were added. Returns true when the limit
  // stopped it and decrypted or readable bytes may be left: call again later, with the same or a new limit.
  // Errors are final (state Failed): Tls (alert, bad record, plain text where TLS must be), TlsVerify (client role, see
  // peer_report()). Origin: Downstream in the server role, Upstream in the client role.
  [[nodiscard]] Result<bool> advance(ByteQueue& plain_out, size_t max_plain = SIZE_MAX);
  // The transport ended; call it once advance() returned false after the last bytes. Truncated unless close_notify came
  // first. Within the handshake the state becomes Failed then; behind it PeerClosed (or Closed), since many a client
  // ends its side by the FIN alone and waits for its answer: what that means for what came, the caller knows.
  [[nodiscard]] Result<void> end_of_input();

  // State Open or PeerClosed only (else InvalidArgument): records are appended to cipher_out(), which is unbounded:
  // look at its size before calling.
  [[nodiscard]] Result<void> encrypt(std::string_view plain);
  // Takes at most `limit` bytes from the front of `plain`; returns how many.
  [[nodiscard]] Result<size_t> encrypt(ByteQueue& plain, size_t limit = SIZE_MAX);
  // Appends close_notify once; no-op when the handshake is unfinished or the session failed.
  void close_notify();

  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] bool is_handshaking() const { return state_ == State::Handshaking; }
  // The error that made the state Failed.
  [[nodiscard]] const std::optional<Error>& failure() const { return failure_; }

  // Known once state() left Handshaking:
  [[nodiscard]] std::string_view alpn() const;    // negotiated protocol, empty when none; valid as long as the session
  [[nodiscard]] uint16_t version() const;         // 0x0303, 0x0304
  [[nodiscard]] std::string_view cipher() const;  // "TLS_AES_256_GCM_SHA384"; static text
  [[nodiscard]] bool resumed() const;

  // Client role: filled when the peer's certificate was seen, verified or not. After a resumption without certificates
  // on the wire it describes the resumed session's certificate. Null before, and in the server role.
  [[nodiscard]] const PeerReport* peer_report() const { return report_ ? &*report_ : nullptr; }
  [[nodiscard]] VerifyFailure verify_error() const { return report_ ? report_->failure : VerifyFailure::None; }
  [[nodiscard]] std::string peer_certificate_sha256() const { return report_ ? report_->sha256 : std::string(); }
  // Client role: the server asked for a client certificate. None was sent.
  [[nodiscard]] bool certificate_requested() const { return certificate_requested_; }

  // Description of the fatal alert the peer sent (RFC 8446 section 6.2), if one came.
  [[nodiscard]] std::optional<uint8_t> peer_alert() const { return peer_alert_; }
  // Server role: the peer's alert says that it does not accept our certificate (bad_certificate, unsupported_,
  // _revoked, _expired, certificate_unknown, unknown_ca, access_denied aside): the client pins, or lacks our CA.
  [[nodiscard]] bool peer_rejected_certificate() const;
  // Server role, handshake not finished: our certificate was sent, and neither an alert nor anything that takes the
  // handshake further came. A client that ends its connection now does not want the certificate, as far as can be told
  // (Java's HttpClient sends no alert).
  [[nodiscard]] bool awaits_judgement() const;
  // Client role: the server asked to renegotiate (TLS 1.2), which is not done. Mostly it wants a client certificate.
  [[nodiscard]] bool refused_renegotiation() const { return refused_renegotiation_; }

 private:
  enum class Role { Server, Client };
  explicit TlsSession(Role role);
  [[nodiscard]] Result<void> attach_bios();
  [[nodiscard]] Result<void> configure(ServerSetup& setup);
  [[nodiscard]] Result<void> configure(ClientSetup& setup);
  [[nodiscard]] Result<bool> do_handshake();
  [[nodiscard]] Result<void> write_some(std::string_view plain);
  [[nodiscard]] std::unexpected<Error> fail_with(int ssl_result, std::string_view what);
  [[nodiscard]] Origin origin() const { return role_ == Role::Server ? Origin::Downstream : Origin::Upstream; }
  friend struct SessionCallbacks;

  Role role_;
  State state_ = State::Handshaking;
  bool certificate_requested_ = false;
  bool sent_close_ = false;
  bool cut_off_ = false;  // ended without close_notify
  bool sent_certificate_ = false;
  bool went_on_ = false;  // the client, after our certificate (before TLS 1.3)
  bool refused_renegotiation_ = false;
  std::optional<uint8_t> peer_alert_;
  std::optional<Error> failure_;
  std::optional<PeerReport> report_;
  std::string server_alpn_;
  std::shared_ptr<const ServerCredential> credential_;
  ClientSessionCache* cache_ = nullptr;
  std::string cache_key_;
  ByteQueue cipher_in_;
  ByteQueue cipher_out_;
  SslPtr ssl_;  // last: its BIOs point at the queues
};

}  // namespace tapdeck::tls
