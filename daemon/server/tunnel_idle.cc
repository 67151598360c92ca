#include "daemon/server/tunnel_idle.h"

namespace tapdeck::server {

TunnelIdle::TunnelIdle(net::Stream& client, net::Stream& origin, std::chrono::milliseconds timeout, Metrics& metrics)
    : client_(client), origin_(origin), timeout_(timeout), metrics_(metrics), deadline_(client.executor(), [this] {
        on_due();
      }) {
  note();
}

void TunnelIdle::on_due() {
  const uint64_t taken = client_.bytes_acknowledged() + origin_.bytes_acknowledged();
  const bool has_more = taken < client_.bytes_written() + origin_.bytes_written();
  const bool moves = is_asking_ ? taken != taken_ : has_more;
  if (moves) {
    taken_ = taken;
    is_asking_ = true;
    return deadline_.set(timeout_);
  }
  metrics_.add(Counter::LimitIdleTimeout);
  client_.close();
  origin_.close();
}

}  // namespace tapdeck::server
