// Pool: the upstream connections of one worker, and what recent handshakes proved about their origins.
//
// Keyed by (namespace, address, SNI, offer). h1 connections wait here between exchanges, most recently used first, so
// that idle ones age out; h2 connections live here and lend streams. Bounded in number and age. Simultaneous first
// exchanges with an origin that may speak h2 share one dial. Owner: the worker. Thread: its own.
#pragma once

#include <chrono>
#include <deque>
#include <list>
#include <memory>
#include <optional>
#include <unordered_map>

#include "daemon/net/task_group.h"
#include "daemon/upstream/connection.h"
#include "daemon/upstream/mux.h"

namespace tapdeck::upstream {

struct PoolOptions {
  size_t max_idle = 1024;  // h1 connections, all keys together
  // Kept this long unused. Below the 60-75 s of common servers, so that we close first and rarely race them.
  std::chrono::milliseconds max_idle_time{50000};
  std::chrono::milliseconds verify_ttl{60000};  // how long a verdict counts without dialling
};

// What a handshake with the origin showed: enough to answer a client's handshake without dialling again.
struct Verdict {
  std::string alpn;
  std::optional<tls::PeerReport> failure;  // set: verification failed
  bool certificate_requested = false;
  std::string version, certificate;  // as Channel::Tls
};

enum class Fresh { No, Yes };

// A lane, or why there is none.
struct Acquired {
  std::unique_ptr<Lane> lane;
  Error error;
};

class Pool {
 public:
  Pool(DialContext& context, PoolOptions options);
  ~Pool();

  // A lane of a connection still fit for use, else of a new one. Fresh::Yes never reuses (a request that may not be
  // sent twice, or the retry of one that failed on a reused connection).
  net::Task<Acquired> acquire(Key key, Fresh fresh);
  // The same without waiting: of a connection that is there, else nullptr.
  [[nodiscard]] std::unique_ptr<Lane> try_acquire(const Key& key);
  // Takes it back if it can serve again, else closes it.
  void give_back(std::unique_ptr<Lane> lane);
  // Closes what was idle too long. Call it about once a second.
  void sweep();
  // Closes what is idle; shared connections in use end with their last stream.
  void clear();
  // Breaks off what is left and waits until it is gone; the pool is empty afterwards. All lanes must be gone.
  net::Task<> close();
  [[nodiscard]] size_t idle() const { return idle_; }
  [[nodiscard]] size_t shared() const;

  // The verdict of a handshake younger than verify_ttl; one that refused, for a second at most.
  [[nodiscard]] const Verdict* recent(const Key& key) const;
  void remember(const Key& key, Verdict verdict);

 private:
  struct Idle {
    std::unique_ptr<Connection> connection;
    exchange::Clock::time_point since;
  };
  struct Remembered {
    Verdict verdict;
    exchange::Clock::time_point at;
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

  [[nodiscard]] std::unique_ptr<Lane> reuse(const Key& key);
  [[nodiscard]] std::unique_ptr<Connection> take(const Key& key);
  [[nodiscard]] std::list<Dialing>::iterator dialing(const Key& key);
  net::Task<std::optional<Error>> wait_for(std::list<Dialing>::iterator dial);
  net::Task<Acquired> dial_new(Key key);
  net::Task<> keep(SharedList& list, SharedList::iterator connection);
  void drop_one();

  DialContext& context_;
  PoolOptions options_;
  std::unordered_map<Key, std::deque<Idle>, KeyHash> by_key_;
  std::unordered_map<Key, SharedList, KeyHash> shared_;
  std::list<Dialing> dialing_;
  std::unordered_map<Key, Remembered, KeyHash> verdicts_;
  net::TaskGroup group_;  // the readers of shared connections
  size_t idle_ = 0;
};

}  // namespace tapdeck::upstream
