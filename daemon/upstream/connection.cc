#include "daemon/upstream/connection.h"

#include <utility>

#include "daemon/http/h1_codec.h"

namespace tapdeck::upstream {

using exchange::BodyPiece;

namespace {

// Of a tunnel in one write, at most about this much.
constexpr size_t kTunnelBytes = 65536;

}  // namespace

Connection::Connection(DialContext& context, Channel channel)
    : context_(context),
      channel_(std::move(channel)),
      codec_(http::make_h1_codec(http::Role::Client, context.limits)),
      watch_(*channel_.transport, [this] { channel_.transport->close(); }) {}

Connection::~Connection() {
  channel_.transport->close();
}

Result<void> Connection::send_request(const http::RequestHead& head, http::EndStream end) {
  TRY(stream, codec_->send_request(head, end));
  stream_ = stream;
  served_ = true;
  heard_ = false;
  return {};
}

net::Task<Result<void>> Connection::send_body(BodyPiece piece) {
  CO_TRY(accepted, codec_->send_body(stream_, piece.bytes, piece.chunk));
  ignore(accepted, "h1 takes all");
  co_return co_await flush();
}

Result<void> Connection::send_end(const http::Headers& trailers) {
  return codec_->send_end(stream_, trailers);
}

net::Task<Result<void>> Connection::flush() {
  return channel_.transport->flush(codec_->output());
}

// An origin that wants a client certificate for this one request (Apache's SSLVerifyClient in a directory) asks for it
// in the middle of the connection, and gives up when that is not done.
std::unexpected<Error> Connection::explained(Error error) const {
  const tls::TlsSession* session = channel_.transport->session();
  if (session != nullptr && session->refused_renegotiation()) {
    error.detail += "; it had asked to renegotiate TLS, for a client certificate as a rule: bypass its host";
  }
  return std::unexpected(std::move(error));
}

net::Task<Result<std::optional<http::Event>>> Connection::next() {
  transport::Transport& transport = *channel_.transport;
  const auto name = [this] { return channel_.key.where(); };
  while (true) {
    auto event = codec_->next();
    if (!event || event->has_value()) co_return event;
    watch_.set(context_.idle_timeout, transport::StallWatch::Counts::New);
    auto n = co_await transport.read_some(codec_->input());
    watch_.clear();
    if (!n) {
      if (watch_.has_stalled()) {
        co_return fail(Code::Timeout, "no byte from " + name() + " within the idle timeout", Origin::Upstream);
      }
      Error error = n.error();
      error.origin = Origin::Upstream;
      co_return explained(std::move(error));
    }
    if (*n > 0) {
      heard_ = true;
      continue;
    }
    if (codec_->is_idle()) co_return std::optional<http::Event>{};
    if (transport.ended_without_notice()) {
      co_return explained({Code::Truncated, name() + " ended TLS without close_notify", Origin::Upstream});
    }
    auto ended = codec_->end_of_input();
    if (!ended) co_return explained(std::move(ended.error()));
    auto last = codec_->next();
    if (last && !last->has_value()) {
      co_return explained({Code::Truncated, name() + " closed inside a message", Origin::Upstream});
    }
    co_return last;
  }
}

net::Task<Result<BodyPiece>> Connection::read_tunnel() {
  ByteQueue& input = codec_->input();
  input.consume(std::exchange(tunnel_piece_, 0));
  if (input.empty()) {
    CO_TRY(n, co_await channel_.transport->read_some(input));
    if (n == 0) co_return BodyPiece{{}, std::nullopt, true};
  }
  tunnel_piece_ = input.front().size();
  co_return BodyPiece{input.front(), std::nullopt, false, input.size() > tunnel_piece_};
}

net::Task<Result<void>> Connection::write_tunnel(BodyPiece piece) {
  ByteQueue& output = codec_->output();
  output.append(piece.bytes);
  if (piece.more && output.size() < kTunnelBytes) co_return Result<void>{};
  co_return co_await flush();
}

bool Connection::is_reusable() const {
  return codec_->is_idle() && !codec_->must_close() && codec_->input().empty();
}

}  // namespace tapdeck::upstream
