#include "daemon/upstream/mux.h"

#include <algorithm>
#include <chrono>
#include <utility>
#include <variant>

#include "daemon/exchange/h2_setup.h"

namespace tapdeck::upstream {

namespace {
constexpr std::chrono::seconds kLinger{1};
// Kept for the next streams: as many as are commonly open, none that has held a long head.
constexpr size_t kWaiters = 128;
constexpr size_t kOrdinaryHead = 4096;
// At a time, of an origin that takes more: the next ones get a further connection, with windows of its own.
constexpr uint32_t kStreams = 1000;
}  // namespace

MuxConnection::MuxConnection(DialContext& context, Channel channel)
    : context_(context),
      channel_(std::move(channel)),
      codec_(http::make_h2_codec(http::Role::Client, context.limits,
                                 channel_.key.security == Security::Tls ? "https" : "http",
                                 exchange::h2_options(*context.metrics, channel_.key.where(), kStreams))),
      group_(context.executor),
      room_(context.executor),
      changed_(context.executor),
      writer_(*this, *channel_.transport, group_, context.executor,
              {transport::OutputWriter::When::EndOfTurn, context.idle_timeout, [this] {
                 fail(Error{Code::Timeout, channel_.key.where() + " stopped reading", Origin::Upstream, Retry::No, 0});
               }}) {
  context_.metrics->add(Gauge::UpstreamIdle, 1);
  idle_since_ = exchange::Clock::now();
}

MuxConnection::~MuxConnection() {
  if (lanes_ == 0) context_.metrics->add(Gauge::UpstreamIdle, -1);
  channel_.transport->close();
}

net::Task<> MuxConnection::run() {
  writer_.write_soon();  // the preface and our settings
  while (!failure_) {
    auto n = co_await channel_.transport->read_some(codec_->input());
    if (failure_) break;
    if (!n) {
      Error error = n.error();
      error.origin = Origin::Upstream;
      fail(error);
    } else if (*n > 0) {
      ++arrivals_;
    } else {
      fail(Error{Code::Closed, channel_.key.where() + " closed the connection", Origin::Upstream, Retry::No, 0});
    }
    pump();
    writer_.write_soon();
    close_if_unused();
  }
  group_.cancel();
  co_await group_.join();
  if (lingers_) co_await linger();
  while (lanes_ > 0) co_await changed_.wait();
}

void MuxConnection::pump() {
  while (!failure_) {
    auto event = codec_->next();
    if (!event) {
      Error error = event.error();
      error.origin = Origin::Upstream;
      refuse(error);
    } else if (!event->has_value()) {
      break;
    } else {
      dispatch(**event);
    }
  }
  room_.notify();
}

void MuxConnection::dispatch(const http::Event& event) {
  if (const auto* away = std::get_if<http::GoingAway>(&event)) {
    going_away_ = true;
    if (away->code != http::ResetCode::NoError) away_code_ = away->code;
    return;
  }
  const http::StreamId id = std::visit(
      [](const auto& what) -> http::StreamId {
        if constexpr (requires { what.stream; }) {
          return what.stream;
        } else {
          return 0;
        }
      },
      event);
  const auto found = streams_.find(id);
  if (found != streams_.end()) {
    found->second->on_event(event, *codec_);
  } else if (const auto* body = std::get_if<http::BodyReceived>(&event)) {
    codec_->consumed(id, body->bytes.size());  // of a stream given up
  }
}

bool MuxConnection::can_open() const {
  return !failure_ && !retired_ && !going_away_ && !codec_->must_close() && codec_->streams_left() > unsent_lanes_;
}

std::unique_ptr<MuxStream> MuxConnection::open(ClientId client) {
  auto lane = std::make_unique<MuxStream>(*this);
  lane->client = client;
  lane->reused = served_;
  ++unsent_lanes_;
  if (lanes_++ == 0) context_.metrics->add(Gauge::UpstreamIdle, -1);
  return lane;
}

std::unique_ptr<MuxWaiter> MuxConnection::take_waiter() {
  if (waiters_.empty()) return std::make_unique<MuxWaiter>(context_.executor);
  auto waiter = std::move(waiters_.back());
  waiters_.pop_back();
  return waiter;
}

void MuxConnection::give_back(std::unique_ptr<MuxWaiter> waiter) {
  waiter->stream = nullptr;
  waiter->deadline.clear();
  const bool is_ordinary = waiter->head.headers.bytes() + waiter->arrived.headers.bytes() <= kOrdinaryHead;
  if (is_ordinary && !waiter->deadline.is_expired() && waiters_.size() < kWaiters)
    waiters_.push_back(std::move(waiter));
}

void MuxConnection::lane_gone() {
  if (--lanes_ == 0) {
    context_.metrics->add(Gauge::UpstreamIdle, 1);
    idle_since_ = exchange::Clock::now();
  }
  changed_.notify();
  close_if_unused();
}

bool MuxConnection::is_alone(ClientId client) const {
  return client != 0 && std::ranges::all_of(clients_, [client](ClientId other) { return other == client; });
}

void MuxConnection::bind(ClientId client) {
  if (is_bound_to(client)) return;
  if (is_bound() || !is_alone(client)) return retire();
  bound_to_ = client;
}

void MuxConnection::dismiss(ClientId client) {
  clients_.erase(client);
  if (is_bound_to(client)) retire();
}

void MuxConnection::retire() {
  retired_ = true;
  close_if_unused();
}

void MuxConnection::close_if_unused() {
  if (lanes_ > 0 || failure_ || !(retired_ || going_away_ || codec_->must_close())) return;
  codec_->start_drain();
  ignore(channel_.transport->try_flush(codec_->output()), "the GOAWAY, as far as the socket takes it");
  channel_.transport->end_output();
  fail(Error{Code::Cancelled, "the connection is not needed any more", Origin::Internal, Retry::No, 0});
}

void MuxConnection::abort() {
  fail(Error{Code::Cancelled, "tapdeck is stopping", Origin::Internal, Retry::No, 0});
  channel_.transport->close();  // ends a linger too
}

void MuxConnection::fail(const Error& error) {
  if (failure_) return;
  give_up(error);
  channel_.transport->close();
}

void MuxConnection::refuse(const Error& error) {
  ignore(channel_.transport->try_flush(codec_->output()), "the GOAWAY, as far as the socket takes it");
  channel_.transport->end_output();
  lingers_ = true;
  give_up(error);
}

void MuxConnection::give_up(const Error& error) {
  failure_ = error;
  for (const auto& [id, stream] : streams_) stream->on_failure(error);
  room_.notify();
}

// What the origin still sends is read and dropped until it ends too: unread bytes would turn our close into a reset,
// which overtakes the GOAWAY.
net::Task<> MuxConnection::linger() {
  net::Deadline end(context_.executor, [this] { channel_.transport->close(); });
  end.set(kLinger);
  while (true) {
    ByteQueue dropped;
    auto n = co_await channel_.transport->read_some(dropped);
    if (!n || *n == 0) break;
  }
  channel_.transport->close();
}

}  // namespace tapdeck::upstream
