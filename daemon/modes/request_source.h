// RequestSource: the request body on its way to the origin, with what a second try needs.
//
// An h2 origin may refuse a stream before it has looked at it (RFC 9113 8.7): then the request may go out again,
// whatever its method. So a short beginning of the body is kept. Nothing is kept for h1, where no origin can say so.
// Owner: one exchange in ForwardHandler. Thread: the worker's.
#pragma once

#include <string>

#include "daemon/exchange/exchange.h"

namespace tapdeck::modes {

enum class Keep { No, Yes };

class RequestSource {
 public:
  RequestSource(exchange::Exchange& exchange, Keep keep) : exchange_(exchange), keep_(keep) {}

  // The next piece: again from the beginning after rewind(), else as Exchange::read_body().
  net::Task<Result<exchange::BodyPiece>> read();
  // All that was read is still here.
  [[nodiscard]] bool can_rewind() const { return !lost_; }
  void rewind() { repeat_ = true; }
  [[nodiscard]] const http::Headers& trailers() const { return exchange_.request_trailers(); }
  [[nodiscard]] http::Version version() const { return exchange_.request().version; }

 private:
  exchange::Exchange& exchange_;
  Keep keep_;
  std::string kept_;
  bool lost_ = false;   // more was read than is kept
  bool ended_ = false;  // the last piece was read
  bool repeat_ = false;
};

}  // namespace tapdeck::modes
