#include "daemon/server/stream_exchange.h"

#include <poll.h>

#include <algorithm>
#include <utility>

#include "daemon/exchange/error_response.h"
#include "daemon/http/h2c_offer.h"

namespace tapdeck::server {

using exchange::BodyPiece;

namespace {
// The kernel tells nobody of acknowledgements: it is asked, less and less often while none come.
constexpr std::chrono::milliseconds kAcknowledgedPoll{4};
constexpr std::chrono::milliseconds kAcknowledgedPollMax{256};

// What a client that has ended its side by TLS alone has for breaking its connection off when it hears more.
constexpr std::chrono::milliseconds kFarewell{50};
// Who merely ends its side says so by TLS, and by a FIN at once: that one is not behind by more.
constexpr std::chrono::milliseconds kFinFollows{100};

// By a reset, or for want of any answer: nothing more will be acknowledged. Leaves the error to the reader.
bool is_broken(int fd) {
  pollfd state{fd, 0, 0};
  return ::poll(&state, 1, 0) > 0;
}

// There is a FIN, perhaps behind what was not read.
bool has_closed(int fd) {
  pollfd state{fd, POLLRDHUP, 0};
  return ::poll(&state, 1, 0) > 0;
}
}  // namespace

void StreamExchange::begin(http::StreamId stream, http::RequestHead& head, http::EndStream end) {
  stream_ = stream;
  std::swap(head_, head);  // the codec refills what it gets back: no allocation once warm
  if (!is_multiplexed()) http::drop_h2c_offer(head_.headers);
  trailers_.clear();
  facts_ = exchange::Facts{};
  facts_.began = exchange::Clock::now();
  facts_.began_unix_us =
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch())
          .count();
  drop_body();
  last_byte_.clear();
  read_offset_ = 0;
  handed_out_ = 0;
  failure_.reset();
  bodyless_ = end == http::EndStream::Yes;
  complete_ = bodyless_;
  started_ = ended_ = tunnel_ = gone_ = ended_by_tls_ = false;
}

void StreamExchange::drop_body() {
  body_.clear();
  marks_.clear();
  marks_bytes_ = 0;
}

bool StreamExchange::put_away() {
  constexpr size_t kOrdinaryHead = 4096;
  drop_body();
  return head_.headers.bytes() + head_.target.size() + trailers_.bytes() <= kOrdinaryHead;
}

void StreamExchange::on_body(const http::BodyReceived& body) {
  if (body.chunk) {
    marks_.push_back({read_offset_ + body_.size(), body.chunk->size, std::string(body.chunk->extension)});
    marks_bytes_ += marks_.back().cost();
  }
  body_.append(body.bytes);
  facts_.request_bytes += body.bytes.size();
  if (!body_.empty()) ready_.notify();
}

void StreamExchange::on_complete() {
  complete_ = true;
  ready_.notify();
}

void StreamExchange::note_departure(const Error& error) {
  const bool left = error.code == Code::Reset || error.code == Code::Closed || error.code == Code::Truncated;
  if (left && error.origin == Origin::Downstream) facts_.client_left = true;
}

void StreamExchange::on_failure(const Error& error) {
  note_departure(error);
  if (!failure_ && !(complete_ && !tunnel_)) failure_ = error;
  ready_.notify();
}

void StreamExchange::on_client_gone(const Error& error) {
  note_departure(error);
  gone_ = true;
  failure_ = error;
  ready_.notify();
  session_.resume_.notify();
}

http::ChunkStart StreamExchange::take_mark() {
  ChunkMark& mark = marks_.front();
  marks_bytes_ -= mark.cost();
  const uint64_t size = mark.size;
  extension_ = std::move(mark.extension);
  marks_.pop_front();
  return {size, extension_};
}

BodyPiece StreamExchange::next_piece() {
  BodyPiece piece;
  piece.bytes = body_.front();
  if (!marks_.empty() && marks_.front().offset == read_offset_) piece.chunk = take_mark();
  if (!marks_.empty()) {
    piece.bytes = piece.bytes.substr(0, static_cast<size_t>(marks_.front().offset - read_offset_));
  }
  handed_out_ = piece.bytes.size();
  piece.more = tunnel_ && body_.size() > handed_out_;
  return piece;
}

net::Task<Result<BodyPiece>> StreamExchange::read_body() {
  if (handed_out_ > 0) {
    body_.consume(handed_out_);
    read_offset_ += handed_out_;
    if (!tunnel_ || is_multiplexed()) session_.codec_->consumed(stream_, handed_out_);
    handed_out_ = 0;
    session_.writer_.write_soon();  // windows that opened
    session_.resume_.notify();
  }
  if (!body_.empty()) co_return next_piece();
  const auto since = exchange::Clock::now();
  while (body_.empty() && !complete_ && !failure_) {
    CO_TRY_VOID(co_await wait(ready_, since, "the rest of the request body is not wanted"));
  }
  if (!body_.empty()) co_return next_piece();
  if (failure_) co_return std::unexpected(*failure_);
  BodyPiece last{{}, std::nullopt, true};
  if (!marks_.empty()) last.chunk = take_mark();  // the last chunk's, for its extension
  co_return last;
}

net::Task<Result<void>> StreamExchange::wait(net::Signal& signal, exchange::Clock::time_point since, const char* what) {
  // In h1 the connection's own timers see a stalled body. A stream may stall while its connection is busy. Whoever
  // reads from a tunnel has a timer of its own, which a client that takes nothing does not stop while it speaks.
  std::optional<net::Deadline> deadline;
  const bool is_reading = &signal == &ready_;
  if (is_multiplexed() && !(tunnel_ && is_reading)) {
    deadline.emplace(session_.context_.executor, [&signal] { signal.notify(); });
    const exchange::Clock::duration left = since + session_.context_.limits.idle_timeout - exchange::Clock::now();
    deadline->set(std::max<exchange::Clock::duration>(left, std::chrono::milliseconds(1)));
  }
  co_await signal.wait();
  const bool wanted = co_await net::is_wanted();
  if (gone_) co_return std::unexpected(*failure_);
  if (!wanted) co_return fail(Code::Cancelled, what, Origin::Internal);
  if (deadline && deadline->is_expired()) {
    session_.context_.metrics->add(Counter::LimitIdleTimeout);
    co_return fail(Code::Timeout, "the client stalled the stream", Origin::Downstream);
  }
  co_return Result<void>{};
}

Result<void> StreamExchange::check_client() const {
  if (!gone_ && session_.phase_ != Session::Phase::Dead) return {};
  return fail(Code::Closed, "the client is gone", Origin::Downstream);
}

Result<void> StreamExchange::check_writable() const {
  TRY_VOID(check_client());
  if (ended_ && !tunnel_) return fail(Code::Cancelled, "the response has ended", Origin::Internal);
  return {};
}

Result<void> StreamExchange::inform(const http::ResponseHead& head) {
  TRY_VOID(check_writable());
  if (head.status == 100) facts_.client_invited = true;
  return session_.codec_->send_informational(stream_, head);
}

// As the codec sends it: HTTP/1.0 has no chunks, and of HTTP/2 a body without a length becomes chunks.
bool StreamExchange::is_chunked(const http::ResponseHead& head) const {
  if (head_.version == http::Version::Http10 || head.version == http::Version::Http10) return false;
  return head.version == http::Version::Http2 || head.headers.find("transfer-encoding");
}

Result<void> StreamExchange::respond(const http::ResponseHead& head, http::EndStream end) {
  TRY_VOID(check_writable());
  started_ = true;
  facts_.status = head.status;
  ended_by_tls_ = session_.input_ended_ && exchange::Clock::now() - session_.input_ended_at_ >= kFinFollows &&
                  !has_closed(session_.transport_.stream().native_handle());
  TRY_VOID(session_.codec_->send_response(stream_, head, end));
  ended_ = end == http::EndStream::Yes;
  // Where only the end of the connection ends the response, a daemon that is killed must not seem to have ended it.
  session_.resets_on_close_ = !ended_ && session_.codec_->must_close() && !is_multiplexed() &&
                              !head.headers.find("content-length") && !is_chunked(head) && head.status >= 200 &&
                              head_.method != "CONNECT";
  if (session_.resets_on_close_) session_.transport_.stream().reset_on_close(true);
  return {};
}

Result<size_t> StreamExchange::send_some(const BodyPiece& piece) {
  TRY_VOID(check_writable());
  if (tunnel_ && !is_multiplexed()) {
    session_.codec_->output().append(piece.bytes);
    facts_.response_bytes += piece.bytes.size();
    return piece.bytes.size();
  }
  TRY(accepted, session_.codec_->send_body(stream_, piece.bytes, piece.chunk));
  facts_.response_bytes += accepted;
  return accepted;
}

Result<void> StreamExchange::write_now(const BodyPiece& piece) {
  TRY(accepted, send_some(piece));
  if (accepted == piece.bytes.size()) return {};
  return fail(Code::Exhausted, "the client's window is closed", Origin::Downstream);  // never in h1
}

net::Task<Result<void>> StreamExchange::write_body(const BodyPiece& piece) {
  BodyPiece rest = piece;
  auto since = exchange::Clock::now();
  while (true) {
    CO_TRY(accepted, send_some(rest));
    if (accepted > 0) since = exchange::Clock::now();
    rest.bytes.remove_prefix(accepted);
    rest.chunk.reset();
    if (rest.bytes.empty()) break;
    session_.writer_.write_now();  // the client opens its window for what it has got
    if (session_.codec_->send_capacity(stream_) > 0) continue;
    auto waited = co_await wait(session_.resume_, since, "the response is not wanted");
    CO_TRY_VOID(check_writable());
    if (!waited) co_return waited;
  }
  if (!session_.writer_.is_clogged()) co_return Result<void>{};
  co_return co_await session_.writer_.flush();
}

Result<void> StreamExchange::end(const http::Headers& trailers) {
  TRY_VOID(check_writable());
  ended_ = true;
  if (tunnel_ && !is_multiplexed()) {
    session_.transport_.end_output();  // half-close: the client hears that the other side has ended; it may still send
    return {};
  }
  return session_.codec_->send_end(stream_, trailers);
}

net::Task<Result<void>> StreamExchange::flush() {
  return session_.writer_.flush();
}

Result<bool> StreamExchange::try_flush() {
  return session_.writer_.try_flush();
}

void StreamExchange::hold_last_byte() {
  ByteQueue& output = session_.codec_->output();
  if (output.size() < 2) return;
  ByteQueue rest;
  rest.move_from(output, output.size() - 1);
  last_byte_.append(std::move(output));
  output.append(std::move(rest));
}

net::Task<Result<void>> StreamExchange::deliver() {
  if (is_multiplexed()) {
    CO_TRY_VOID(co_await flush());
    co_return co_await wait_until_framed();
  }
  if (ended_ && !tunnel_) hold_last_byte();
  CO_TRY_VOID(co_await flush());
  CO_TRY_VOID(co_await wait_until_acknowledged());
  if (ended_by_tls_) co_return co_await wait_for_close();
  co_return Result<void>{};
}

// asyncio says close_notify, waits for ours, and closes when there is more data instead.
net::Task<Result<void>> StreamExchange::wait_for_close() {
  asio::steady_timer timer(session_.context_.executor);
  const auto until = exchange::Clock::now() + kFarewell;
  while (exchange::Clock::now() < until) {
    if (has_closed(session_.transport_.stream().native_handle()))
      co_return fail(Code::Closed, "the client is gone", Origin::Downstream);
    timer.expires_after(kAcknowledgedPoll);
    auto [error] = co_await timer.async_wait(net::kToken);
    const bool wanted = co_await net::is_wanted();
    CO_TRY_VOID(check_client());
    if (error || !wanted) co_return fail(Code::Cancelled, "nobody wants to know any more", Origin::Internal);
  }
  co_return Result<void>{};
}

net::Task<Result<void>> StreamExchange::wait_until_framed() {
  auto since = exchange::Clock::now();
  for (size_t room = writable_now(); session_.codec_->has_unsent(stream_);) {
    session_.writer_.write_now();
    CO_TRY_VOID(check_writable());
    if (!session_.codec_->has_unsent(stream_)) break;
    auto waited = co_await wait(session_.resume_, since, "the broken response is not wanted");
    CO_TRY_VOID(check_writable());
    if (!waited) co_return waited;
    if (const size_t now = writable_now(); now != room) {
      room = now;
      since = exchange::Clock::now();
    }
  }
  co_return Result<void>{};
}

net::Task<Result<void>> StreamExchange::wait_until_acknowledged() {
  net::Stream& stream = session_.transport_.stream();
  const int fd = stream.native_handle();
  asio::steady_timer timer(session_.context_.executor);
  auto since = exchange::Clock::now();
  std::chrono::milliseconds poll = kAcknowledgedPoll;
  uint64_t seen = stream.bytes_acknowledged();
  while (session_.writer_.backlog() > 0 || seen < stream.bytes_written()) {
    if (is_broken(fd)) co_return fail(Code::Closed, "the client is gone", Origin::Downstream);
    timer.expires_after(poll);
    auto [error] = co_await timer.async_wait(net::kToken);
    const bool wanted = co_await net::is_wanted();
    CO_TRY_VOID(check_client());
    if (error || !wanted) co_return fail(Code::Cancelled, "the broken response is not wanted", Origin::Internal);
    const uint64_t now = stream.bytes_acknowledged();
    const bool moved = std::exchange(seen, now) != now;
    if (moved) since = exchange::Clock::now();
    poll = moved ? kAcknowledgedPoll : std::min(2 * poll, kAcknowledgedPollMax);
    if (exchange::Clock::now() - since < session_.context_.limits.idle_timeout) continue;
    session_.context_.metrics->add(Counter::LimitIdleTimeout);
    co_return fail(Code::Timeout, "the client stopped reading", Origin::Downstream);
  }
  if (is_broken(fd)) co_return fail(Code::Closed, "the client is gone", Origin::Downstream);
  co_return Result<void>{};
}

void StreamExchange::answer_failure(const Error& error) {
  const std::string body = exchange::json_of(error, flow().destination_text());
  const http::ResponseHead head = exchange::json_head(exchange::status_of(error), body.size());
  const BodyPiece piece{body, std::nullopt, true};
  auto answered = respond(head, http::EndStream::No);
  if (answered) answered = write_now(piece);
  if (answered) answered = end({});
  if (!answered) reset(http::ResetCode::InternalError);
}

void StreamExchange::reset(http::ResetCode code) {
  const bool is_whole = ended_ && !tunnel_ && !holds_last_byte();
  if (gone_ || is_whole) return;  // nobody listens, or it was answered in the handler's place
  ended_ = true;
  session_.give_up(*this, code, Error{Code::Reset, "the response was broken off", Origin::Internal, Retry::No, 0});
}

void StreamExchange::cut(http::ResetCode code) {
  if (is_multiplexed() || session_.resets_on_close_ || tunnel_) return reset(code);
  if (gone_ || ended_) return;
  ended_ = true;
  session_.hang_up(*this);
}

void StreamExchange::reset_connection() {
  if (gone_ || (ended_ && !tunnel_)) return;
  ended_ = true;
  session_.lose_client(Error{Code::Reset, "the connection was broken off", Origin::Internal, Retry::No, 0});
}

void StreamExchange::become_tunnel() {
  tunnel_ = true;
  if (is_multiplexed()) return;       // its bytes go on as Body events
  complete_ = session_.input_ended_;  // a client that half-closed behind its request sends no second end
  session_.raw_ = true;
  session_.pump();
}

}  // namespace tapdeck::server
