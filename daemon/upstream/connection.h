// Connection: an HTTP/1 connection to an origin, an exchange at a time.
//
// It knows no pool, mode or recording. Owner: a handler while in use, the Pool while idle. Thread: its worker's.
#pragma once

#include <memory>
#include <optional>

#include "daemon/transport/stall_watch.h"
#include "daemon/upstream/lane.h"

namespace tapdeck::upstream {

class Connection final : public Lane {
 public:
  Connection(DialContext& context, Channel channel);
  ~Connection() override;

  Result<void> send_request(const http::RequestHead& head, http::EndStream end) override;
  net::Task<Result<void>> send_body(exchange::BodyPiece piece) override;
  Result<void> send_end(const http::Headers& trailers) override;
  net::Task<Result<void>> flush() override;
  Result<bool> try_flush() override { return channel_.transport->try_flush(codec_->output()); }
  Result<std::optional<http::Event>> try_next() override { return codec_->next(); }
  net::Task<Result<std::optional<http::Event>>> next() override;
  http::ResponseHead& response_head() override { return codec_->response_head(); }
  http::Headers& trailers() override { return codec_->trailers(); }
  void consumed(size_t n) override { codec_->consumed(stream_, n); }
  net::Task<Result<exchange::BodyPiece>> read_tunnel() override;
  net::Task<Result<void>> write_tunnel(exchange::BodyPiece piece) override;
  void end_tunnel() override { channel_.transport->end_output(); }
  void abandon(http::ResetCode code) override {
    return code == http::ResetCode::NoError ? channel_.transport->close() : channel_.transport->abort();
  }
  void bind() override { is_bound_ = true; }
  bool has_heard() const override { return heard_; }
  Connection* whole() override { return this; }
  const Channel& channel() const override { return channel_; }
  std::chrono::milliseconds idle_timeout() const override { return context_.idle_timeout; }

  // Between exchanges, not closing, nothing unexpected received. No syscall.
  [[nodiscard]] bool is_reusable() const;
  [[nodiscard]] bool has_served() const { return served_; }
  [[nodiscard]] bool is_bound() const { return is_bound_; }
  // The origin neither closed it nor sent anything unasked. One syscall.
  [[nodiscard]] bool is_quiet() { return channel_.transport->is_quiet(); }

 private:
  [[nodiscard]] std::unexpected<Error> explained(Error error) const;

  DialContext& context_;
  Channel channel_;
  std::unique_ptr<http::Codec> codec_;
  http::StreamId stream_ = 0;
  bool served_ = false;  // a request went out on it
  bool heard_ = false;   // bytes came since the last one did
  bool is_bound_ = false;
  size_t tunnel_piece_ = 0;  // bytes handed out by read_tunnel(), consumed at the next call
  transport::StallWatch watch_;
};

}  // namespace tapdeck::upstream
