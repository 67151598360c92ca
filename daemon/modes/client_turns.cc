#include "daemon/modes/client_turns.h"

#include <algorithm>
#include <utility>

#include "daemon/modes/forward.h"
#include "daemon/net/deadline.h"
#include "daemon/net/task_group.h"

namespace tapdeck::modes {

using exchange::Exchange;

net::Task<Result<void>> ClientTurns::reach(Exchange& exchange, uint64_t microseconds) {
  const Said said = said_.by(recording_, microseconds);
  if (has_come(said) || is_let_go_) co_return Result<void>{};
  auto flushed = co_await exchange.flush();  // what it may be waiting for
  if (!flushed) co_return flushed;
  // How much of an upload had come when it was refused is chance: a client that has stopped waits for the refusal.
  if (is_early()) co_return co_await hear_for_a_moment(said);
  while (!has_come(said)) CO_TRY_VOID(co_await hear());
  co_return Result<void>{};
}

bool ClientTurns::is_early() const {
  return std::ranges::find(recording_.dimensions, kEarlyDimension, &store::KeyDimension::name) !=
         recording_.dimensions.end();
}

net::Task<Result<void>> ClientTurns::hear_for_a_moment(Said said) {
  const auto executor = co_await asio::this_coro::executor;
  net::TaskGroup listener(executor);
  net::Deadline patience(executor, [&listener] { listener.cancel(); });
  patience.set(kRestOfBody);
  listener.spawn(hear_until(said));
  co_await listener.join();
  if (diverged_) co_return fail(Code::NotFound, "the client said something else than on tape", Origin::Downstream);
  is_let_go_ = !has_come(said);
  co_return Result<void>{};
}

// An HTTP/2 stream of unknown length that was recorded with its end had ended before its answer did (expects_rest of
// ForwardHandler); of all others that is not known, and the client may be waiting for the end itself.
net::Task<Result<void>> ClientTurns::reach_end(Exchange& exchange) {
  if (is_early() || ended_ || !is_whole(recording_)) co_return Result<void>{};
  auto flushed = co_await exchange.flush();
  if (!flushed) co_return flushed;
  const http::RequestHead& request = recording_.request;
  if (request.version == http::Version::Http2 && !request.headers.find("content-length")) {
    while (!ended_) CO_TRY_VOID(co_await hear());
    co_return Result<void>{};
  }
  const Said all{.bytes = recording_.request_body.size, .ended = true};
  co_return co_await hear_for_a_moment(all);
}

net::Task<> ClientTurns::hear_until(Said said) {
  while (!has_come(said)) {
    auto heard = co_await hear();
    if (!heard) co_return;
  }
}

net::Task<Result<void>> ClientTurns::hear() {
  CO_TRY(piece, co_await request_.read_ahead());
  asking_.body(piece.bytes);
  if (request_.response_started()) request_.forget();
  CO_TRY(same, co_await is_as_recorded(piece.bytes));
  ended_ = piece.end;
  if (same && (!ended_ || heard_ == recording_.request_body.size)) co_return Result<void>{};
  diverged_ = true;
  co_return fail(Code::NotFound, "the client went on in another way than on tape", Origin::Downstream);
}

net::Task<Result<bool>> ClientTurns::is_as_recorded(std::string_view bytes) {
  while (!bytes.empty()) {
    CO_TRY(known, co_await recorded());
    const std::string_view part = bytes.substr(0, known.size());
    if (part.empty() || !known.starts_with(part)) co_return false;
    heard_ += part.size();
    bytes.remove_prefix(part.size());
  }
  co_return true;
}

net::Task<Result<std::string_view>> ClientTurns::recorded() {
  const store::BodyRef& body = recording_.request_body;
  if (heard_ >= body.size) co_return std::string_view();
  if (!body.inline_bytes.empty()) co_return std::string_view(body.inline_bytes).substr(heard_);
  const bool is_held = heard_ >= segment_begin_ && heard_ - segment_begin_ < segment_.size();
  if (!is_held) {
    segment_begin_ = 0;
    auto segment = body.segments.begin();
    while (segment != body.segments.end() && heard_ - segment_begin_ >= segment->size) {
      segment_begin_ += segment->size;
      ++segment;
    }
    if (segment == body.segments.end()) co_return std::string_view();
    CO_TRY(bytes, co_await reader_.read(*segment));
    reader_.forget();  // a client may think for long before it says the next
    segment_ = std::move(bytes);
  }
  co_return std::string_view(segment_).substr(heard_ - segment_begin_);
}

}  // namespace tapdeck::modes
