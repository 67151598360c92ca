// Connection: one accepted flow from its first byte: sniff, decide, terminate TLS or tunnel, then a Session.
//
// Owner: the worker. Thread: its own.
#pragma once

#include <memory>
#include <optional>

#include "daemon/net/deadline.h"
#include "daemon/proxy/destination.h"
#include "daemon/server/early_origin.h"
#include "daemon/server/flow_facts.h"
#include "daemon/server/sniff.h"
#include "daemon/server/tls_plan.h"

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
  [[nodiscard]] bool is_of(TargetSlot target) const { return facts_.flow.identity.target == target; }
  [[nodiscard]] bool is_of(TargetSlot target, uint64_t tenant) const {
    return is_of(target) && facts_.flow.identity.tenant == tenant;
  }
  // Ends now.
  void abort();

 private:
  enum class First { Client, Origin, Nobody };
  // Who spoke while the client was silent. Over: the flow was dealt with.
  enum class Heard { Client, NoOrigin, Over };
  enum class Said { Nothing, Bytes, End, Failure };

  // ---- connection_sniff.cc: what the client speaks, in clear or in its TLS
  [[nodiscard]] net::Stream& client();
  net::Task<Result<size_t>> read_client();
  [[nodiscard]] Sniffed look();
  [[nodiscard]] exchange::Clock::duration patience(const Sniffed& sniffed);
  // Reads until the protocol is known. nullopt: the client left or said nothing and the flow was dealt with.
  net::Task<std::optional<Sniffed>> sniff_client();
  // The client is silent: dials its origin and waits until either side speaks. An origin that does gets its tunnel.
  net::Task<Heard> hear_both();
  // The client is silent in replay, where no origin can be asked: the session says which side spoke first when it was
  // recorded. Client: the client may go on being silent until `silence`, which is set anew, has passed. Over: it may
  // not, and its connection was ended.
  net::Task<Heard> weigh_silence(net::Deadline& silence);
  // Which side spoke first, by the session.
  net::Task<store::Opening> recorded_opening();
  // Counts a miss of a silent client that left, if its session does not say that it was the one to speak.
  void miss_unheard();
  // Records that the origin spoke first, for recorded_opening().
  void note_greeting();
  static net::Task<> watch(net::Stream& stream, First who, First& first, net::Signal& heard);
  net::Task<First> wait_for_either(net::Stream& origin);
  void end_listening();  // to both, which `deadline_` bounded

  // ---- connection_tls.cc: clients that begin with a ClientHello
  net::Task<> serve_tls(tls::ClientHello hello);
  net::Task<bool> accept_tls(const TlsPlan& plan, const TlsPlanner& planner);

  // ---- connection_decrypted.cc: TLS that carries something else than HTTP
  static net::Task<> hear(transport::Transport& side, ByteQueue& bytes, Said& said, net::Signal& changed);
  net::Task<Heard> hear_both_decrypted();
  net::Task<> tunnel_decrypted(Counter reason);
  net::Task<> tunnel_decrypted_to(std::unique_ptr<upstream::Lane> origin, ByteQueue greeting, Counter reason);

  net::Task<> serve_http();
  void begin_tunnel(Counter reason);
  net::Task<> tunnel(Counter reason);
  net::Task<> tunnel_to(std::unique_ptr<net::Stream> origin, Counter reason);
  // Replay: it cannot be on tape.
  static constexpr std::string_view kOpaque = "a flow that cannot be on tape was reset";
  static constexpr std::string_view kBypassed = "bypassed: not on tape; the flow was reset";
  void refuse_opaque(std::string_view why = kOpaque);
  void miss_opaque(std::string_view what);
  void end_silent();  // replay: nothing was asked, so nothing was missed
  void count_protocol(ConnectionProtocol protocol);

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
  net::Task<bool> is_bypassed_by_address();
  net::Task<> refuse_connect(int status, std::string body);

  WorkerContext& context_;
  FlowFacts facts_;
  EarlyOrigin origin_;
  std::unique_ptr<net::Stream> stream_;  // until TLS or HTTP takes it
  std::unique_ptr<transport::Transport> transport_;
  std::unique_ptr<Session> session_;
  ByteQueue received_;
  std::optional<exchange::Clock::time_point> first_byte_;
  std::optional<store::Opening> opening_;      // of a client that is silent in replay
  exchange::Clock::time_point asked_since_{};  // when a CONNECT was begun to be read
  net::Deadline deadline_;
  net::TaskGroup::Id task_ = 0;
  bool speaks_h2_ = false;  // by ALPN, or by its preface in clear
  bool counted_ = false;
  bool draining_ = false;
  bool client_is_dead_ = false;
  bool tunnelling_ = false;
  bool client_ended_ = false;  // in the middle of being sniffed
};

}  // namespace tapdeck::server
