// The writing half of Session: when what the codec has put out goes to the socket.
#include "daemon/server/session.h"

namespace tapdeck::server {

bool Session::all_sent() const {
  return backlog() == 0;
}

// A write a stream would be a TLS record, a system call and a wake-up of the client for each of a hundred.
void Session::write_soon() {
  if (!codec_->is_multiplexed()) return write_now();
  if (writer_active_ || phase_ != Phase::Open || all_sent()) return;
  writer_active_ = true;
  group_.spawn(write_at_end_of_turn());
}

net::Task<> Session::write_at_end_of_turn() {
  co_await net::end_of_turn(context_.executor);
  writer_active_ = false;
  write_now();
  settle();
}

void Session::write_now() {
  while (!writer_active_ && phase_ == Phase::Open && !all_sent()) {  // h2 fills its output again as it empties
    auto done = transport_.try_flush(codec_->output());
    if (!done) {
      lose_client(done.error());
    } else if (!*done) {
      writer_active_ = true;
      group_.spawn(write_rest());
    }
  }
}

net::Task<> Session::write_rest() {
  while (phase_ != Phase::Dead && !all_sent()) {  // what TLS has taken may be all there is
    auto written = co_await write_all();          // a multiplexing codec fills its output again as it empties
    if (!written) break;
    resume_.notify();
  }
  writer_active_ = false;
  settle();
}

size_t Session::backlog() const {
  return codec_->output().size() + transport_.unsent();
}

Result<bool> Session::try_flush() {
  if (phase_ == Phase::Dead) return fail(Code::Closed, "the client is gone", Origin::Downstream);
  if (!codec_->is_multiplexed() || backlog() >= kWriteHighWater) return try_write();
  write_soon();
  return true;
}

net::Task<Result<void>> Session::flush() {
  CO_TRY(now, try_flush());
  if (now) co_return Result<void>{};
  co_return co_await write_all();
}

Result<bool> Session::try_write() {
  if (phase_ == Phase::Dead) return fail(Code::Closed, "the client is gone", Origin::Downstream);
  auto now = transport_.try_flush(codec_->output());
  if (!now) lose_client(now.error());
  return now;
}

net::Task<Result<void>> Session::write_all() {
  CO_TRY(now, try_write());
  if (now) co_return Result<void>{};
  ++writers_;
  write_watch_.set(context_.limits.idle_timeout);
  auto flushed = co_await transport_.flush(codec_->output());
  if (--writers_ == 0) write_watch_.clear();
  if (!flushed && flushed.error().code == Code::Cancelled && codec_->is_multiplexed() && phase_ == Phase::Open) {
    // One exchange was cancelled while it wrote for all: another goes on.
    if (!writer_active_) {
      writer_active_ = true;
      group_.spawn(write_rest());
    }
    co_return flushed;
  }
  if (!flushed && write_watch_.has_stalled()) flushed = fail(Code::Closed, kStoppedReading, Origin::Downstream);
  if (!flushed) lose_client(flushed.error());
  co_return flushed;
}

}  // namespace tapdeck::server
