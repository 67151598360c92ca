#include "daemon/transport/output_writer.h"

#include <utility>

namespace tapdeck::transport {

OutputWriter::OutputWriter(OutputSource& source, Transport& transport, net::TaskGroup& group,
                           asio::any_io_executor executor, Options options)
    : source_(source),
      transport_(transport),
      group_(group),
      executor_(std::move(executor)),
      when_(options.when),
      patience_(options.patience),
      watch_(transport, std::move(options.on_stalled)) {}

void OutputWriter::write_soon() {
  if (when_ == When::Now) return write_now();
  if (active_ || source_.ended() != nullptr || backlog() == 0) return;
  active_ = true;
  group_.spawn(write_at_end_of_turn());
}

net::Task<> OutputWriter::write_at_end_of_turn() {
  co_await net::end_of_turn(executor_);
  active_ = false;
  write_now();
  source_.on_idle();
}

void OutputWriter::write_now() {
  while (!active_ && source_.ended() == nullptr && backlog() > 0) {
    auto done = transport_.try_flush(source_.output());
    if (!done) {
      source_.on_lost(done.error());
    } else if (!*done) {
      start_rest();
    }
  }
}

void OutputWriter::start_rest() {
  if (active_) return;
  active_ = true;
  group_.spawn(write_rest());
}

net::Task<> OutputWriter::write_rest() {
  while (source_.ended() == nullptr && backlog() > 0) {  // what TLS has taken may be all there is
    auto written = co_await write_all();
    if (!written) break;
  }
  active_ = false;
  source_.on_idle();
}

Result<bool> OutputWriter::try_flush() {
  if (when_ == When::Now || is_clogged()) return try_write();
  if (const Error* ended = source_.ended()) return std::unexpected(*ended);
  write_soon();
  return true;
}

net::Task<Result<void>> OutputWriter::flush() {
  CO_TRY(now, try_flush());
  if (now) co_return Result<void>{};
  co_return co_await write_all();
}

Result<bool> OutputWriter::try_write() {
  if (const Error* ended = source_.ended()) return std::unexpected(*ended);
  auto now = transport_.try_flush(source_.output());
  if (!now) source_.on_lost(now.error());
  return now;
}

net::Task<Result<void>> OutputWriter::write_all() {
  CO_TRY(now, try_write());
  if (now) {
    source_.on_room();
    co_return Result<void>{};
  }
  ++waiting_;
  watch_.set(patience_);
  auto flushed = co_await transport_.flush(source_.output());
  if (--waiting_ == 0) watch_.clear();
  if (flushed) {
    source_.on_room();
  } else if (const Error* ended = source_.ended()) {
    flushed = std::unexpected(*ended);
  } else if (flushed.error().code == Code::Cancelled && when_ == When::EndOfTurn) {
    start_rest();  // one exchange was cancelled while it wrote for all
  } else {
    source_.on_lost(flushed.error());
  }
  co_return flushed;
}

}  // namespace tapdeck::transport
