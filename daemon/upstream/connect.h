// connect_to(): the TCP connection of an upstream leg: to an address as captured, or to a name, whose addresses race
// each other with a head start for the first (RFC 8305, without its DNS part).
//
// Also ParkedStreams: connections made before it was known what they are for. A CONNECT is answered only when its
// origin was reached; the TLS or HTTP that then comes out of the tunnel uses that same connection. Owner: the worker.
// Thread: its own.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>

#include "daemon/net/stream.h"
#include "daemon/upstream/channel.h"

namespace tapdeck::upstream {

// Errors have origin Upstream, but for one of our own addresses: Permission, origin Downstream (who asked for it).
net::Task<Result<std::unique_ptr<net::Stream>>> connect_to(DialContext& context, const Key& key);

class ParkedStreams {
 public:
  // Keeps the stream until it is taken or the ticket dies.
  class Ticket {
   public:
    Ticket() = default;
    Ticket(ParkedStreams* lot, std::string where, std::shared_ptr<std::unique_ptr<net::Stream>> stream)
        : lot_(lot), where_(std::move(where)), stream_(std::move(stream)) {}
    Ticket(Ticket&& other) noexcept
        : lot_(std::exchange(other.lot_, nullptr)),
          where_(std::move(other.where_)),
          stream_(std::move(other.stream_)) {}
    Ticket& operator=(Ticket&& other) noexcept {
      std::swap(lot_, other.lot_);
      where_.swap(other.where_);
      stream_.swap(other.stream_);
      return *this;
    }
    ~Ticket();

   private:
    ParkedStreams* lot_ = nullptr;
    std::string where_;
    std::shared_ptr<std::unique_ptr<net::Stream>> stream_;
  };

  [[nodiscard]] Ticket park(const Key& key, std::unique_ptr<net::Stream> stream);
  // One that leads where `key` does and is still open; null: none.
  [[nodiscard]] std::unique_ptr<net::Stream> take(const Key& key);
  [[nodiscard]] size_t size() const { return parked_.size(); }

 private:
  using Shared = std::shared_ptr<std::unique_ptr<net::Stream>>;
  void remove(const std::string& where, const Shared& stream);
  std::unordered_multimap<std::string, Shared> parked_;
};

}  // namespace tapdeck::upstream
