// Pool: the upstream connections of one worker, and what recent handshakes proved about their origins.
//
// Keyed by (namespace, address, SNI, offer, target). h1 connections wait here between exchanges, most recently used
// first, so that idle ones age out; h2 connections live here and lend streams. Bounded in number and age. Simultaneous
// first exchanges with an origin that may speak h2 share one dial.
//
// Client connections of one target take turns on them, until an identity belongs to a connection (bound_auth.h): that
// one waits for its client alone, and goes with it. Owner: the worker. Thread: its own.
#pragma once

#include <chrono>
#include <deque>
#include <list>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "daemon/net/task_group.h"
#include "daemon/upstream/connection.h"
#include "daemon/upstream/mux.h"

namespace tapdeck::upstream {

struct PoolOptions {
  size_t max_idle = 1024;      // h1 connections, all keys together; those bound to a client go last
  size_t max_bound_idle = 32;  // of these, bound to one client; at least 1
  // Kept this long unused. Below the 60-75 s of common servers, so that we close first and rarely race them.
  std::chrono::milliseconds max_idle_time{50000};
  // The same when its client has left: long enough for the next of a row of short connections, too short for an origin
  // that serves one connection at a time to be missed by a client of another worker. At most max_idle_time.
  std::chrono::milliseconds max_orphan_time{1000};
  // How often sweep() asks each socket whether its origin closed it, which is a syscall; one that is taken is asked
  // too.
  std::chrono::milliseconds probe_every{1000};
  std::chrono::milliseconds verify_ttl{60000};  // how long a verdict counts without dialling
};

// What a handshake with the origin showed: enough to answer a client's handshake without dialling again.
struct Verdict {
  std::string alpn;
  std::optional<tls::PeerReport> failure;  // set: verification failed
  bool certificate_requested = false;
  std::string version, certificate;  // as Channel::Tls
  bool is_without_san = false;
  Error error{};  // of a `failure`
};

enum class Fresh { No, Yes };
enum class Bound { No, Yes };  // Yes: the request carries an identity that its connection keeps

// What is to go out over a lane. A request that may not be sent twice (Once) and is the first of its client connection
// gets no h1 connection that others have used, which its origin may be closing this moment: without us it would have
// gone out over one of its own.
enum class Sends { Nothing, Repeatable, Once };

// Who asks for a lane.
struct Asker {
  ClientId client = 0;
  Bound bound = Bound::No;
  Sends sends = Sends::Nothing;
  exchange::Clock::time_point since = exchange::Clock::time_point::max();  // when its request began; max(): now
};

// A lane, or why there is none.
struct Acquired {
  std::unique_ptr<Lane> lane;
  Error error;
  std::optional<exchange::Clock::time_point> failed_at;  // of an error that was kept (expect_failure)
  std::optional<Verdict> verdict;                        // what a full handshake made for it has shown
};

// The same origin, asked by HTTP/1.1.
[[nodiscard]] Key over_h1(Key key);

class Pool {
 public:
  // A client connection, from its first byte to its last.
  class Client {
   public:
    explicit Client(Pool& pool) : pool_(pool), id_(pool.enter()) {}
    ~Client() { pool_.leave(id_); }
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;
    [[nodiscard]] ClientId id() const { return id_; }

   private:
    Pool& pool_;
    ClientId id_;
  };

  Pool(DialContext& context, PoolOptions options);
  ~Pool();

  // A lane of a connection still fit for use, else of a new one. Fresh::Yes never reuses (a request that may not be
  // sent twice, or the retry of one that failed on a reused connection).
  net::Task<Acquired> acquire(Key key, Fresh fresh, Asker asker = {});
  // The same without waiting: of a connection that is there, else nullptr.
  [[nodiscard]] std::unique_ptr<Lane> try_acquire(const Key& key, Asker asker = {});
  // A dial of this client's failed at `at`: its next acquire() of `key` is told so instead of dialling again, and with
  // it all that ask for requests which had begun by then (streams come together). Within two seconds of `at`, and
  // unless a connection comes first.
  void expect_failure(const Key& key, ClientId client, Error error,
                      exchange::Clock::time_point at = exchange::Clock::now());
  // The origin takes no request over HTTP/2 (HTTP_1_1_REQUIRED). The key to ask it by instead, which as_required()
  // gives for verify_ttl from now.
  Key require_h1(const Key& key);
  [[nodiscard]] Key as_required(Key key) const;
  // Takes it back if it can serve again, else closes it.
  void give_back(std::unique_ptr<Lane> lane);
  // Closes what was idle too long, and now and then (probe_every) what its origin closed. Call it some times a second.
  void sweep();
  // Closes what is idle; shared connections in use end with their last stream.
  void clear();
  // Breaks off what is left and waits until it is gone; the pool is empty afterwards. All lanes must be gone.
  net::Task<> close();
  [[nodiscard]] size_t idle() const { return idle_; }
  [[nodiscard]] size_t shared() const;

  // The verdict of a full handshake younger than verify_ttl, for whatever target; one that refused, for a second at
  // most.
  [[nodiscard]] const Verdict* recent(const Key& key) const;
  void remember(const Key& key, Verdict verdict);

 private:
  struct Idle {
    std::unique_ptr<Connection> connection;
    exchange::Clock::time_point since;
  };
  using IdleList = std::list<Idle>;
  struct Remembered {
    Verdict verdict;
    exchange::Clock::time_point at;
  };
  struct Failed {
    Key key;
    Error error;
    exchange::Clock::time_point at;
    bool is_told = false;
    // Requests that begin later have not waited for it. The end of the loop turn in which it was first told.
    exchange::Clock::time_point told_at = exchange::Clock::time_point::max();
  };
  // A dial that others wait for. The last of them removes it.
  struct Dialing {
    Dialing(Key wanted, const asio::any_io_executor& executor) : key(std::move(wanted)), done(executor) {}
    Key key;
    net::Signal done;
    size_t waiting = 0;
    bool over = false;
    std::optional<Error> error;
  };
  using SharedList = std::list<MuxConnection>;
  struct Known {
    bool has_asked = false;                 // was given a lane for a request
    std::vector<IdleList::iterator> bound;  // its own, oldest first
    std::vector<MuxConnection*> shared;     // had a stream of these
  };

  ClientId enter();
  // Its error and time, when it is to be told.
  [[nodiscard]] const Failed* find_failure(const Key& key, Asker asker);
  net::Task<> note_told(ClientId client);
  void leave(ClientId client);
  void note_asked(Asker asker);
  [[nodiscard]] std::unique_ptr<Lane> reuse(const Key& key, Asker asker);
  [[nodiscard]] std::unique_ptr<Lane> lend(MuxConnection& connection, Asker asker);
  [[nodiscard]] MuxConnection* find_shared(const Key& key, Asker asker);
  enum class Whose { Anybodys, MadeForIt };  // MadeForIt: dialled for that client, and has served nobody
  [[nodiscard]] std::unique_ptr<Connection> take(const Key& key, Whose whose, ClientId client);
  [[nodiscard]] std::unique_ptr<Connection> take_bound(const Key& key, ClientId client);
  Idle release(IdleList::iterator bound);  // no longer its client's
  [[nodiscard]] bool is_stale(const Idle& idle, exchange::Clock::time_point now) const;
  void note_idle(ptrdiff_t change);
  [[nodiscard]] std::list<Dialing>::iterator dialing(const Key& key);
  net::Task<std::optional<Error>> wait_for(std::list<Dialing>::iterator dial);
  net::Task<Acquired> dial_new(Key key, Asker asker);
  // What a dial has shown is remembered; of a resumption the protocol, which alone was agreed on anew.
  [[nodiscard]] std::optional<Verdict> learn(const Key& key, const Dialed& dialed);
  net::Task<> keep(SharedList& list, SharedList::iterator connection);
  void make_room();

  DialContext& context_;
  PoolOptions options_;
  std::unordered_map<Key, std::deque<Idle>, KeyHash> by_key_;
  std::unordered_map<Key, SharedList, KeyHash> shared_;
  std::list<Dialing> dialing_;
  std::unordered_map<Key, Remembered, OriginHash, SameOrigin> verdicts_;
  std::unordered_map<Key, exchange::Clock::time_point, OriginHash, SameOrigin> h1_required_;  // since when
  IdleList bound_;  // of all clients, oldest first
  std::unordered_map<ClientId, Known> clients_;
  std::unordered_map<ClientId, Failed> failed_;  // of clients that are there
  ClientId last_client_ = 0;
  net::TaskGroup group_;  // the readers of shared connections
  size_t idle_ = 0;       // all h1 connections that wait here
  exchange::Clock::time_point probe_due_{};
};

}  // namespace tapdeck::upstream
