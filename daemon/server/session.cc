#include "daemon/server/session.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <variant>

#include "daemon/exchange/error_response.h"
#include "daemon/net/log_exception.h"
#include "daemon/server/refusal.h"
#include "daemon/server/stream_exchange.h"

namespace tapdeck::server {

using exchange::Clock;

namespace {
using When = transport::OutputWriter::When;

// Pipelined bytes kept while an exchange runs: a full head and a bit more.
constexpr size_t kPipelineBytes = 131072;
// Objects of ended exchanges that a connection keeps: those that an HTTP/2 client commonly has open at a time.
constexpr size_t kSpares = 32;

}  // namespace

Session::Session(const SessionContext& context, const exchange::CapturedFlow& flow, const exchange::TlsFacts& tls,
                 transport::Transport& transport, std::unique_ptr<http::Codec> codec)
    : context_(context),
      flow_(flow),
      tls_(tls),
      transport_(transport),
      codec_(std::move(codec)),
      group_(context.executor, [this](const std::exception_ptr& failure) { on_exception(failure); }),
      resume_(context.executor),
      read_deadline_(context.executor, [this] { on_deadline(); }),
      writer_(*this, transport, group_, context.executor,
              {codec_->is_multiplexed() ? When::EndOfTurn : When::Now, context.limits.idle_timeout, [this] {
                 context_.metrics->add(Counter::LimitIdleTimeout);
                 lose_client(Error{Code::Timeout, "the client stopped reading", Origin::Downstream, Retry::No, 0});
               }}) {}

Session::~Session() = default;

// Whose exchange it was is not known: none of them may wait for it.
void Session::on_exception(const std::exception_ptr& failure) {
  net::log_exception("exchange.exception", "an exchange", failure);
  lose_client(Error{Code::Internal, "an exchange of the connection failed", Origin::Internal, Retry::No, 0});
}

net::Task<> Session::run() {
  pump();
  settle();
  context_.first_head.reset();
  while (phase_ == Phase::Open) {
    if (input_ended_ || must_pause_reading()) {
      read_deadline_.clear();
      co_await resume_.wait();
      continue;
    }
    set_read_deadline();
    auto n = co_await transport_.read_some(codec_->input());
    if (phase_ != Phase::Open) {
      input_ended_ = !n || *n == 0;  // a read after the end of stream would never complete
      break;
    }
    if (!n) {
      lose_client(n.error());
    } else if (*n == 0) {
      end_input();
    }
    pump();
    writer_.write_now();  // all that the bytes just read have caused at once
    settle();
  }
  if (phase_ == Phase::Closing && !input_ended_) co_await discard_until_end();
  read_deadline_.clear();
  phase_ = Phase::Dead;
  transport_.close();
  co_await group_.join();
}

net::Task<> Session::discard_until_end() {
  ByteQueue discarded;
  while (true) {
    auto n = co_await transport_.read_some(discarded);
    if (!n || *n == 0) break;
    discarded.clear();
  }
}

void Session::end_input() {
  input_ended_ = true;
  input_ended_at_ = exchange::Clock::now();
  for (const auto& exchange : active_) exchange->facts().client_ended = true;
  auto ended = codec_->end_of_input();
  if (raw_ && !active_.empty()) {
    active_.front()->on_complete();
  } else if (!ended && codec_->is_multiplexed()) {
    lose_client(ended.error());  // HTTP/2 has no half-closed connections: who ends one wants no more of its streams
  } else if (!ended) {
    // Half-closed inside a message: that exchange cannot become whole, an earlier one still may.
    fail_streams(ended.error());
  }
}

void Session::drain() {
  draining_ = true;
  codec_->start_drain();
  break_off_those(&exchange::Facts::only_waits,
                  Error{Code::Cancelled, "tapdeck is stopping, or its target was detached", Origin::Internal});
  settle();
}

void Session::drop_left() {
  if (input_ended_ && !active_.empty()) drop();
}

void Session::drop() {
  lose_client(Error{Code::Closed, "the client has ended", Origin::Downstream, Retry::No, 0});
}

size_t Session::reset_tunnels() {
  for (const auto& exchange : active_) exchange->facts().may_not_pass = true;
  return break_off_those(&exchange::Facts::passes_raw,
                         Error{Code::Cancelled, "its target is replayed from now on", Origin::Internal});
}

size_t Session::break_off_those(bool exchange::Facts::* are, const Error& error) {
  std::vector<StreamExchange*> found;
  for (const auto& exchange : active_) {
    if (std::exchange(exchange->facts().*are, false)) found.push_back(exchange.get());
  }
  if (!found.empty() && !codec_->is_multiplexed()) {
    lose_client(error);
    return found.size();
  }
  for (StreamExchange* exchange : found) {
    codec_->reset(exchange->stream(), http::ResetCode::Cancel);
    lose_stream(*exchange, error);
  }
  if (!found.empty()) writer_.write_soon();
  return found.size();
}

void Session::abort() {
  lose_client(Error{Code::Cancelled, "tapdeck is stopping", Origin::Internal, Retry::No, 0});
}

void Session::pump() {
  if (pumping_ || phase_ != Phase::Open) return;
  pumping_ = true;
  clogged_ = false;
  if (raw_ && !active_.empty()) {
    active_.front()->take_raw(codec_->input());
  } else {
    while (!refused_ && phase_ == Phase::Open && !raw_ && !owes_last_byte()) {
      // Answers from memory come as fast as requests are read: a client that pipelines and does not read waits.
      clogged_ = active_.empty() && !codec_->is_multiplexed() && writer_.is_clogged();
      if (clogged_) break;
      auto event = codec_->next();
      if (!event) {
        if (std::exchange(unstarted_, nullptr) != nullptr) active_.pop_back();  // it was no request
        refuse(event.error());
        break;
      }
      if (event->has_value()) {
        dispatch(**event);
      } else if (unstarted_ != nullptr) {
        start(std::exchange(unstarted_, nullptr));
      } else {
        break;
      }
    }
    if (raw_ && !active_.empty()) active_.front()->take_raw(codec_->input());
  }
  pumping_ = false;
}

// What is pipelined behind such a response could be answered before it.
bool Session::owes_last_byte() const {
  return !active_.empty() && active_.back()->holds_last_byte();
}

StreamExchange* Session::find(http::StreamId stream) {
  const auto at = std::ranges::lower_bound(active_, stream, {}, &StreamExchange::stream);  // in the order they began
  return at != active_.end() && (*at)->stream() == stream ? at->get() : nullptr;
}

void Session::dispatch(const http::Event& event) {
  if (const auto* head = std::get_if<http::HeadReceived>(&event)) {
    in_head_ = false;
    begin_exchange(*head);
  } else if (const auto* body = std::get_if<http::BodyReceived>(&event)) {
    StreamExchange* exchange = find(body->stream);
    if (exchange != nullptr) {
      exchange->on_body(*body);
    } else {
      codec_->consumed(body->stream, body->bytes.size());  // the handler is done with it
      // The rest of a request whose answer is whole is wanted by nobody (RFC 9113 8.1). Not said before more comes: a
      // client that is about to end its side anyway (gRPC) may take an early reset for the fate of the call.
      if (codec_->is_multiplexed()) codec_->reset(body->stream, http::ResetCode::NoError);
    }
  } else if (const auto* trailers = std::get_if<http::TrailersReceived>(&event)) {
    if (StreamExchange* exchange = find(trailers->stream)) exchange->on_trailers(codec_->trailers());
  } else if (const auto* complete = std::get_if<http::MessageComplete>(&event)) {
    if (StreamExchange* exchange = find(complete->stream)) exchange->on_complete();
  } else if (const auto* reset = std::get_if<http::StreamReset>(&event)) {
    StreamExchange* exchange = find(reset->stream);
    if (exchange != nullptr && reset->request_only) {
      exchange->on_failure(Error{Code::Truncated, "the client ended its request early, behind the begin of its answer",
                                 Origin::Downstream, Retry::No, 0});
    } else if (exchange != nullptr) {
      lose_stream(*exchange, Error{Code::Reset, "the client reset the stream", Origin::Downstream, Retry::No, 0});
    }
  }
}

void Session::begin_exchange(const http::HeadReceived& head) {
  if (spare_.empty()) spare_.push_back(std::make_unique<StreamExchange>(*this));
  std::unique_ptr<StreamExchange> owned = std::move(spare_.back());
  spare_.pop_back();
  StreamExchange* exchange = owned.get();
  exchange->begin(head.stream, codec_->request_head(), head.end);
  exchange->facts().client_ended = input_ended_;
  active_.push_back(std::move(owned));
  if (draining_) codec_->start_drain();
  if (head.end == http::EndStream::No && codec_->has_body_to_judge()) {
    unstarted_ = exchange;
  } else {
    start(exchange);
  }
}

void Session::start(StreamExchange* exchange) {
  if (context_.handler->serve_now(*exchange) == exchange::Served::Yes) {
    finish(exchange);
    return;
  }
  exchange->set_task(group_.next_id());
  group_.spawn(serve(exchange));
}

net::Task<> Session::serve(StreamExchange* exchange) {
  std::optional<net::Deadline> deadline;
  if (context_.limits.request_timeout.count() > 0) {
    deadline.emplace(context_.executor, [this, exchange] { time_out(*exchange); });
    deadline->set(context_.limits.request_timeout);
  }
  Result<void> served;
  std::exception_ptr thrown;
  try {
    auto result = co_await context_.handler->serve(*exchange);
    served = std::move(result);
  } catch (...) {
    thrown = std::current_exception();
    served = fail(Code::Internal, "the exchange ended by an exception");
  }
  if (!served && exchange->facts().error.empty()) exchange::note_failure(exchange->facts(), served.error());
  finish(exchange);  // its line in the log and its count are due in any case
  if (thrown) std::rethrow_exception(thrown);
  settle();
}

void Session::finish(StreamExchange* exchange) {
  exchange->release_last_byte();
  if (!exchange->response_has_ended() && !exchange->is_gone() && phase_ != Phase::Dead) {
    // A handler that answered nothing, or half: the client must not take it for whole.
    give_up(*exchange, http::ResetCode::InternalError,
            Error{Code::Internal, "the response was not finished", Origin::Internal, Retry::No, 0});
  }
  if (exchange->is_tunnel() && !codec_->is_multiplexed()) {
    draining_ = true;
  } else if (exchange->buffered() > 0) {
    codec_->consumed(exchange->stream(), exchange->buffered());  // read by nobody, and no longer held
  }
  context_.observer->finished(*exchange);
  for (auto entry = active_.begin(); entry != active_.end(); ++entry) {
    if (entry->get() != exchange) continue;
    if ((*entry)->put_away() && spare_.size() < kSpares) spare_.push_back(std::move(*entry));
    active_.erase(entry);
    break;
  }
  if (raw_ && active_.empty()) refused_ = true;  // nothing after a tunnel is HTTP
}

void Session::give_up(StreamExchange& exchange, http::ResetCode code, const Error& error) {
  codec_->reset(exchange.stream(), code);
  if (codec_->must_close() && active_.size() == 1) {
    lose_client(error);  // h1: nothing less than the connection says so
    return;
  }
  exchange.on_failure(error);
  writer_.write_soon();
}

void Session::hang_up(StreamExchange& exchange) {
  codec_->reset(exchange.stream(), http::ResetCode::InternalError);
  exchange.on_failure(Error{Code::Closed, "the response was cut short", Origin::Internal, Retry::No, 0});
  if (phase_ != Phase::Open) return;
  close_orderly();
}

// The reader may sit in a read: it goes on discarding until the client ends too, so that no RST overtakes data.
void Session::close_orderly() {
  phase_ = Phase::Closing;
  if (std::exchange(resets_on_close_, false)) transport_.stream().reset_on_close(false);
  transport_.end_output();
  read_deadline_.set(kLinger);
}

void Session::refuse(const Error& error) {
  refused_ = true;
  context_.observer->refused(flow_, tls_, error);
  if (const auto counter = exchange::refusal_counter_of(error, *codec_)) context_.metrics->add(*counter);
  // No HTTP client: closed without a word (RFC 9113 3.4 asks that of a wrong preface in clear).
  if (error.code == Code::Closed) return;
  if (codec_->is_multiplexed()) {
    // The codec has queued the GOAWAY that says why; settle() closes behind it once the handlers are gone.
    for (const auto& exchange : active_) lose_stream(*exchange, error);
    return;
  }
  if (!active_.empty()) {
    fail_streams(error);  // malformed body: the handler of that exchange answers, if it still can
    return;
  }
  codec_->output().append(refusal(error, flow_.destination));
}

bool Session::may_close() const {
  return active_.empty() && !clogged_ && (refused_ || input_ended_ || codec_->must_close() || (draining_ && !in_head_));
}

bool Session::owes() const {
  return !refused_ && !input_ended_ && codec_->unsent() > 0;
}

void Session::settle() {
  pump();  // a finished exchange lets the next pipelined request begin
  if (phase_ == Phase::Open && may_close()) codec_->start_drain();  // h2: the last word, which streams were taken
  writer_.write_soon();
  while (clogged_ && phase_ == Phase::Open && !writer_.is_clogged()) {
    pump();
    writer_.write_soon();
  }
  if (phase_ == Phase::Open && may_close() && writer_.backlog() == 0 && !owes()) {
    close_orderly();
  }
  // A read may be pending since before the last exchange ended: from here on it waits for the next request.
  if (phase_ == Phase::Open && !input_ended_ && !must_pause_reading()) set_read_deadline();
  resume_.notify();
}

bool Session::must_pause_reading() const {
  if (refused_) return true;  // nothing more is wanted; settle() closes
  if (clogged_) return true;  // settle() pumps on
  // Windows bound what streams hold. A client that makes us answer (PING, SETTINGS) and does not read is paused.
  if (codec_->is_multiplexed()) return writer_.backlog() >= kPipelineBytes;
  if (!active_.empty() && !raw_ && codec_->input().size() >= kPipelineBytes) return true;
  for (const auto& exchange : active_) {
    if (exchange->held() >= context_.limits.body_buffer) return true;
  }
  return false;
}

void Session::lose_stream(StreamExchange& exchange, const Error& error) {
  exchange.on_client_gone(error);
  group_.cancel(exchange.task());
}

void Session::fail_streams(const Error& error) {
  for (const auto& exchange : active_) exchange->on_failure(error);
}

void Session::lose_client(const Error& error) {
  if (phase_ == Phase::Dead) return;
  phase_ = Phase::Dead;
  if (error.code == Code::Cancelled) end_ = error;
  fail_streams(error);
  transport_.abort();
  group_.cancel();
  resume_.notify();
}

}  // namespace tapdeck::server
