// Pool: idle upstream connections of one worker, and what recent handshakes proved about their origins.
//
// Keyed by (namespace, address, SNI, ALPN); most recently used first, so that idle ones age out. Bounded in number and
// age. Owner: the worker. Thread: its own.
#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <unordered_map>

#include "daemon/upstream/connection.h"

namespace tapdeck::upstream {

struct PoolOptions {
  size_t max_idle = 1024;  // connections, all keys together
  // Kept this long unused. Below the 60-75 s of common servers, so that we close first and rarely race them.
  std::chrono::milliseconds max_idle_time{50000};
  std::chrono::milliseconds verify_ttl{60000};  // how long a verdict counts without dialling
};

// What a handshake with the origin showed: enough to answer a client's handshake without dialling again.
struct Verdict {
  std::string alpn;
  std::optional<tls::PeerReport> failure;  // set: verification failed
  bool certificate_requested = false;
};

enum class Fresh { No, Yes };

class Pool {
 public:
  Pool(DialContext& context, PoolOptions options) : context_(context), options_(options) {}
  ~Pool();

  // A pooled connection still fit for use, else a new one. Fresh::Yes never reuses (a request that may not be sent
  // twice, or the retry of one that failed on a reused connection).
  net::Task<Dialed> acquire(Key key, Fresh fresh);
  // Takes it back if it can serve again, else closes it.
  void give_back(std::unique_ptr<Connection> connection);
  // Closes what was idle too long. Call it about once a second.
  void sweep();
  void clear();
  [[nodiscard]] size_t idle() const { return idle_; }

  // The verdict of a handshake younger than verify_ttl.
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
  [[nodiscard]] std::unique_ptr<Connection> take(const Key& key);
  void drop_one();

  DialContext& context_;
  PoolOptions options_;
  std::unordered_map<Key, std::deque<Idle>, KeyHash> by_key_;
  std::unordered_map<Key, Remembered, KeyHash> verdicts_;
  size_t idle_ = 0;
};

}  // namespace tapdeck::upstream
