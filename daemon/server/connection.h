// Connection: one accepted flow from its first byte: sniff, decide, terminate TLS or tunnel, then a Session.
//
// Owner: the worker. Thread: its own.
#pragma once

#include <memory>
#include <optional>

#include "daemon/net/deadline.h"
#include "daemon/proxy/destination.h"
#include "daemon/server/sniff.h"
#include "daemon/server/worker_context.h"
#include "daemon/tls/cert_mint.h"
#include "daemon/upstream/connect.h"
#include "store/opening.h"

namespace tapdeck::server {

class Connection {
 public:
  Connection(WorkerContext& context, exchange::CapturedFlow flow, std::unique_ptr<net::Stream> stream);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  net::Task<> run();
  // Finishes what is open, then ends; a connection without an exchange ends at once.
  void drain();
  // Nobody is there any more whose side has ended: breaks off what a session does for such a client. True: there is no
  // session, but a tunnel that is left.
  [[nodiscard]] bool drop_left();
  // No process of its client lives any more.
  void mark_client_dead();
  [[nodiscard]] bool is_client_dead() const { return client_is_dead_; }
  // drop_left() for those, also where nothing tells of the end any more.
  [[nodiscard]] bool drop_dead();
  // The coroutine of run().
  void set_task(net::TaskGroup::Id task) { task_ = task; }
  [[nodiscard]] net::TaskGroup::Id task() const { return task_; }
  // Its target was detached: as drain(), but what has not come to HTTP yet goes on.
  void let_go();
  // Ends what is a tunnel to an origin, all of it or exchanges in it, if its target is replayed by now.
  void reset_tunnel();
  [[nodiscard]] bool is_of(TargetSlot target) const { return flow_.identity.target == target; }
  [[nodiscard]] bool is_of(TargetSlot target, uint64_t tenant) const {
    return is_of(target) && flow_.identity.tenant == tenant;
  }
  // Ends now.
  void abort();

 private:
  enum class First { Client, Origin, Nobody };
  // Who spoke while the client was silent. Over: the flow was dealt with.
  enum class Heard { Client, NoOrigin, Over };
  enum class Said { Nothing, Bytes, End, Failure };
  struct Intercept {
    tls::LeafSpec leaf;
    std::string alpn;      // to agree with the client
    std::string policy;    // bounds resumption
    std::string mirrors;   // how the origin's certificate failed, when the leaf shows the same failure
    bool is_live = false;  // that was seen now, not learned from the tape
  };

  [[nodiscard]] const modes::TargetState& target();
  // The route of the connection as a whole, as far as its name is known by now; null: none.
  [[nodiscard]] const config::Route* route();
  // What is not on tape is an error: never a tunnel. By the target's mode, or by its route's.
  [[nodiscard]] bool is_sealed();
  // ---- connection_sniff.cc: what the client speaks, in clear or in its TLS
  [[nodiscard]] net::Stream& client();
  net::Task<Result<size_t>> read_client();
  [[nodiscard]] Sniffed look();
  [[nodiscard]] exchange::Clock::duration patience(const Sniffed& sniffed);
  // Reads until the protocol is known. nullopt: the client left or said nothing and the flow was dealt with.
  net::Task<std::optional<Sniffed>> sniff_client();
  net::Task<Heard> hear_both();
  // The same in replay, where the session has to say who would. Client: it has the time that `silence` is set to.
  net::Task<Heard> weigh_silence(net::Deadline& silence);
  net::Task<store::Opening> recorded_opening();
  void miss_unheard();   // it left
  void note_greeting();  // for replay
  [[nodiscard]] store::Place place() const;
  static net::Task<> watch(net::Stream& stream, First who, First& first, net::Signal& heard);
  net::Task<First> wait_for_either(net::Stream& origin);
  // ---- connection_tls.cc: clients that begin with a ClientHello
  net::Task<> serve_tls(tls::ClientHello hello);
  net::Task<std::optional<Intercept>> plan_tls(const tls::ClientHello& hello);
  net::Task<bool> learn_upstream(const tls::ClientHello& hello, Intercept& plan);
  net::Task<> learn_from_tape(const std::string& host, Intercept& plan);
  net::Task<std::optional<store::OriginFacts>> recorded_facts(const std::string& host);
  void follow_tape(const std::string& host, const store::OriginFacts& facts, Intercept& plan);
  void note_certificate_request(const std::string& host);
  // The tape decides about a handshake as long as it knows the origin: hybrid mode, unless its route only forwards.
  [[nodiscard]] bool may_spare_dial();
  static void show_no_san(const std::string& host, Intercept& plan);
  [[nodiscard]] static std::string replayed_alpn(std::string_view offer, const store::OriginFacts& recorded);
  // That the certificate failed, for replay: no exchange may follow that would say it.
  void record_failure(const std::string& host, const Intercept& plan, std::string_view agreed);
  net::Task<bool> accept_tls(Intercept plan, const tls::ClientHello& hello);
  [[nodiscard]] bool is_http_by_alpn() const { return !tls_.client_offer.empty(); }
  [[nodiscard]] upstream::Key tls_key() const;

  // ---- connection_decrypted.cc: TLS that carries something else than HTTP
  void keep_learned(std::unique_ptr<upstream::Lane> lane);
  net::Task<std::unique_ptr<upstream::Lane>> reach_tls();  // null: told to log and metrics
  static net::Task<> hear(transport::Transport& side, ByteQueue& bytes, Said& said, net::Signal& changed);
  net::Task<Heard> hear_both_decrypted();
  net::Task<> tunnel_decrypted(Counter reason);
  net::Task<> tunnel_decrypted_to(std::unique_ptr<upstream::Lane> origin, ByteQueue greeting, Counter reason);

  net::Task<> serve_http();
  void begin_tunnel(Counter reason);
  net::Task<> tunnel(Counter reason);
  net::Task<> tunnel_to(std::unique_ptr<net::Stream> origin, Counter reason);
  net::Task<std::unique_ptr<net::Stream>> reach_plain();  // null: told to log and metrics
  // The name in the client's CONNECT, or the IP it wants to talk to.
  [[nodiscard]] std::string asked_host() const;
  [[nodiscard]] bool is_bypassed(std::string_view host);
  void refuse_opaque();  // replay: cannot be on tape
  void miss_opaque(std::string_view what);
  void end_silent();  // replay: nothing was asked, so nothing was missed
  // What is learned without an exchange goes there; null: nothing is recorded.
  [[nodiscard]] const store::Take* open_take();

  // ---- connect.cc: clients of the explicit listener
  // False: the connection was served, or has ended. True: a tunnel is open and what comes is meant for its end.
  net::Task<bool> begin_proxied();
  net::Task<bool> serve_connect();
  net::Task<bool> receive_more();
  net::Task<Result<proxy::Destination>> read_connect(http::Codec& codec);
  // A CONNECT's origin being reached while its client may leave.
  struct Asked {
    explicit Asked(const asio::any_io_executor& executor) : changed(executor) {}
    Result<void> result = fail(Code::Cancelled, "the client left before its CONNECT was answered", Origin::Downstream);
    net::Signal changed;
    bool over = false;
  };
  net::Task<Result<void>> reach_asked();
  net::Task<> dial_asked(upstream::Key key, Asked& asked);
  static net::Task<> watch_client(net::Stream& client, Asked& asked);
  [[nodiscard]] upstream::Key asked_key() const;
  net::Task<bool> is_bypassed_by_address();
  [[nodiscard]] bool may_answer_from_tape();
  net::Task<> refuse_connect(int status, std::string body);
  void park_dialed();

  void count_protocol(ConnectionProtocol protocol);

  WorkerContext& context_;
  upstream::Pool::Client client_id_;  // dies after what it owns in the pool
  exchange::CapturedFlow flow_;
  exchange::TlsFacts tls_;
  std::unique_ptr<net::Stream> stream_;  // until TLS or HTTP takes it
  std::unique_ptr<transport::Transport> transport_;
  std::unique_ptr<Session> session_;
  std::unique_ptr<net::Stream> dialed_;      // the origin, until it is known what goes through
  std::unique_ptr<upstream::Lane> learned_;  // the same in TLS
  upstream::ParkedStreams::Ticket parked_;
  ByteQueue received_;
  std::optional<exchange::Clock::time_point> first_byte_;
  std::optional<store::Opening> opening_;      // of a client that is silent in replay
  exchange::Clock::time_point asked_since_{};  // when a CONNECT was begun to be read
  net::Deadline deadline_;
  net::TaskGroup::Id task_ = 0;
  bool follows_origin_ = true;  // no route says what to speak with the origin
  bool secure_ = false;
  bool speaks_h2_ = false;  // by ALPN, or by its preface in clear
  bool counted_ = false;
  bool draining_ = false;
  bool client_is_dead_ = false;
  bool tunnelling_ = false;
  bool client_ended_ = false;  // in the middle of being sniffed
};

}  // namespace tapdeck::server
