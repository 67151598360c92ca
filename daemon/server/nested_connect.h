// NestedConnect: the Handler of a CONNECT that is not the first request of a client's connection: a stream of HTTP/2,
// or a later request over HTTP/1.1. (A first CONNECT turns the whole connection into the tunnel, connect.cc.)
//
// It asks the same of a Connection of the worker's own, over a pair of sockets, and passes on what that answers: what
// goes through the tunnel is sniffed, decrypted, recorded and replayed as if it had come in a connection of its own.
// Owner: the worker. Thread: its own.
#pragma once

#include <functional>
#include <memory>

#include "daemon/exchange/handler.h"
#include "daemon/modes/forward.h"
#include "daemon/net/stream.h"
#include "daemon/upstream/channel.h"

namespace tapdeck::server {

class NestedConnect final : public exchange::Handler {
 public:
  // Serves a connection to the explicit listener. False: there are too many.
  using Admit = std::function<bool(exchange::CapturedFlow flow, std::unique_ptr<net::Stream> stream)>;
  NestedConnect(upstream::DialContext& dial, modes::ForwardHandler& forward, Admit admit)
      : dial_(dial), forward_(forward), admit_(std::move(admit)) {}

  net::Task<Result<void>> serve(exchange::Exchange& exchange) override;

 private:
  upstream::DialContext& dial_;
  modes::ForwardHandler& forward_;
  Admit admit_;
};

}  // namespace tapdeck::server
