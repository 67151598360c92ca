#include "daemon/modes/websocket_recorder.h"

#include <utility>

#include "daemon/base/log.h"
#include "daemon/exchange/error_response.h"
#include "daemon/ws/handshake.h"

namespace tapdeck::modes {

using store::BodySide;
using OutcomeKind = store::Outcome::Kind;

namespace {

constexpr std::chrono::milliseconds kSaveEvery{100};
// Both directions of it: what comes faster leaves as segments, written once instead of twice.
constexpr uint64_t kSaveBytes = 2 * store::kSegmentBytes;
// The index of messages is kept in memory until the end: 40 MiB at this many.
constexpr size_t kMaxMessages = 1 << 20;

store::Message::Kind kind_of(ws::Kind kind) {
  switch (kind) {
    case ws::Kind::Text:
      return store::Message::Kind::Text;
    case ws::Kind::Binary:
      return store::Message::Kind::Binary;
    case ws::Kind::Ping:
      return store::Message::Kind::Ping;
    case ws::Kind::Pong:
      return store::Message::Kind::Pong;
    case ws::Kind::Close:
      return store::Message::Kind::Close;
  }
  return store::Message::Kind::Binary;
}

size_t index_of(BodySide side) {
  return static_cast<size_t>(side);
}

}  // namespace

WebSocketRecorder::WebSocketRecorder(const http::ResponseHead& response, store::RecordingBuilder& builder,
                                     StoreLink& link, exchange::Facts& facts)
    : builder_(builder), link_(link), facts_(facts), save_timer_(link.executor(), [this] { save(); }) {
  const ws::AgreedExtensions agreed = ws::agreed_extensions(response.headers);
  if (!agreed.known) {
    gave_up_ = "websocket_extension";
    return;
  }
  ws::ReaderOptions options;
  if (agreed.deflate) options.deflate = agreed.deflate->client;
  sides_[index_of(BodySide::Request)].reader = std::make_unique<ws::MessageReader>(options);
  options.from = ws::From::Server;
  if (agreed.deflate) options.deflate = agreed.deflate->server;
  sides_[index_of(BodySide::Response)].reader = std::make_unique<ws::MessageReader>(options);
  save_soon();  // the opening itself: a crash before the first message leaves the handshake
}

void WebSocketRecorder::passed(BodySide which, std::string_view bytes) {
  Side& side = sides_[index_of(which)];
  if (side.reader == nullptr) return;
  messages_.clear();
  const auto read = side.reader->feed(bytes, messages_);
  for (const ws::Message& message : messages_) keep(which, message);
  if (!read) {
    const bool limit = read.error().code == ws::kTooBig;
    give_up(side, limit ? "websocket_too_long" : "websocket_protocol",
            limit ? Counter::IncompleteLimit : Counter::IncompleteProtocol);
  } else if (builder_.recording().messages.size() >= kMaxMessages) {
    give_up(side, "websocket_messages", Counter::IncompleteLimit);
  }
  if (!messages_.empty()) save_soon();
}

void WebSocketRecorder::keep(BodySide which, const ws::Message& message) {
  store::Message kept;
  kept.side = which;
  kept.kind = kind_of(message.kind);
  kept.compressed = message.compressed;
  kept.code = message.code;
  const auto elapsed = exchange::Clock::now() - facts_.began;
  kept.microseconds = static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(elapsed).count());
  builder_.message(kept, message.payload);
  since_save_ += message.payload.size();
  link_.metrics().add(which == BodySide::Request ? Counter::WebSocketUp : Counter::WebSocketDown);
  if (message.kind != ws::Kind::Close) return;
  sides_[index_of(which)].closed = true;
  must_settle_ = which == BodySide::Response;
}

void WebSocketRecorder::give_up(Side& side, std::string reason, Counter counter) {
  side.reader.reset();
  if (!gave_up_.empty()) return;
  gave_up_ = std::move(reason);
  link_.metrics().add(counter);
  log::peer(log::Level::Warn, "recording.incomplete",
            "a WebSocket goes on, its recording ends here: replay breaks there",
            {{"recording", builder_.id()}, {"reason", gave_up_}});
}

void WebSocketRecorder::give_up_on_store() {
  for (Side& side : sides_) give_up(side, "store_slow", Counter::IncompleteStoreSlow);
}

void WebSocketRecorder::ended(BodySide which) {
  Side& side = sides_[index_of(which)];
  side.cut = side.reader != nullptr && !side.closed && !side.reader->is_between_messages();
  if (!ended_first_) ended_first_ = which;
}

void WebSocketRecorder::save_soon() {
  if (builder_.has_writes()) submit();  // segments that have become full
  const auto now = exchange::Clock::now();
  if (since_save_ >= kSaveBytes || now - saved_at_ >= kSaveEvery) return save();
  if (save_pending_) return;
  save_pending_ = true;
  save_timer_.set(kSaveEvery - (now - saved_at_));
}

void WebSocketRecorder::save() {
  save_pending_ = false;
  save_timer_.clear();
  saved_at_ = exchange::Clock::now();
  since_save_ = 0;
  builder_.checkpoint();
  submit();
}

void WebSocketRecorder::submit() {
  builder_.take_writes(writes_);
  link_.add(writes_);
}

net::Task<> WebSocketRecorder::settle() {
  must_settle_ = false;
  builder_.checkpoint();
  builder_.take_writes(writes_);
  auto saved = co_await link_.commit(writes_);
  ignore(saved, "traffic first: the link has counted and logged it, and finish() writes the whole again");
}

store::Outcome WebSocketRecorder::outcome(const Result<void>& served) const {
  const uint64_t bytes = builder_.body_size(BodySide::Response);
  if (!gave_up_.empty()) return {OutcomeKind::Incomplete, bytes, gave_up_};
  const Side& client = sides_[index_of(BodySide::Request)];
  const Side& origin = sides_[index_of(BodySide::Response)];
  const bool client_left = served ? ended_first_ == BodySide::Request : facts_.client_left;
  // Once somebody has said Close, how the connection itself goes down is nobody's loss (RFC 6455 7.1.1).
  if (origin.closed) return {OutcomeKind::Complete, 0, {}};
  if (!client.closed && served && origin.cut) return {OutcomeKind::Truncated, bytes, "upstream_truncated"};
  if (!client.closed && served && client.cut) return {OutcomeKind::Incomplete, bytes, "client_truncated"};
  if (client_left) return {OutcomeKind::Complete, 0, std::string(kClientLeft)};
  if (client.closed) return {OutcomeKind::Complete, 0, {}};
  if (served) return {OutcomeKind::Complete, 0, {}};
  const Error& error = served.error();
  const std::string reason(exchange::name_of(error, facts_));
  if (error.origin != Origin::Upstream || error.code != Code::Reset) return {OutcomeKind::Incomplete, bytes, reason};
  // A stream that ended with its connection has no code of its own: the client got this one.
  const bool by_h2 = builder_.recording().response.version == http::Version::Http2;
  const auto otherwise = by_h2 ? static_cast<uint32_t>(http::ResetCode::InternalError) : 0;
  return {OutcomeKind::Reset, bytes, reason, facts_.reset_code.value_or(otherwise)};
}

net::Task<> WebSocketRecorder::finish(Result<void> served) {
  save_timer_.clear();
  store::Outcome ended = outcome(served);
  const bool incomplete = ended.kind == OutcomeKind::Incomplete;
  const bool lost = link_.was_refused(builder_.id());
  if (lost) {
    builder_.abandon();
  } else {
    builder_.finish(std::move(ended));
  }
  builder_.take_writes(writes_);
  auto committed = co_await link_.commit(writes_);
  if (lost) committed = std::unexpected(refused_part());
  // A client that left cancels the wait, not the write.
  if (committed || committed.error().code == Code::Cancelled) {
    facts_.recording = builder_.id();
    facts_.outcome = Outcome::Recorded;
    link_.metrics().add(incomplete ? Counter::RecordingIncomplete : Counter::RecordingComplete);
    co_return;
  }
  facts_.outcome = Outcome::Forwarded;
  link_.lose(committed.error());
  log::peer(log::Level::Error, "recording.lost", "a WebSocket ended whose recording is not safe",
            {{"recording", builder_.id()}, {"reason", committed.error().message()}});
}

}  // namespace tapdeck::modes
