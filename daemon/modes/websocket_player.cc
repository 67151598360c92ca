#include "daemon/modes/websocket_player.h"

#include <utility>

#include "daemon/modes/break_off.h"
#include "daemon/modes/websocket_recorder.h"
#include "daemon/net/offload.h"

namespace tapdeck::modes {

using exchange::BodyPiece;
using OutcomeKind = store::Outcome::Kind;

namespace {

// Frames are written in portions of about this much: one TLS turn.
constexpr size_t kPortion = 65536;
// A client that asks and never reads is not read either.
constexpr size_t kMaxAnswers = 65536;
constexpr size_t kMaxBacklog = 65536;
// For the client's Close after ours, before the connection is ended anyway.
constexpr std::chrono::seconds kPatience{2};

// What was said is remembered up to this much, with so much for each message beside its payload.
constexpr size_t kMaxSpoken = 1 << 20;
constexpr size_t kSpokenCost = 64;

ws::ReaderOptions reading(const WebSocketAgreement& agreed) {
  ws::ReaderOptions options;
  if (agreed.deflate) options.deflate = agreed.deflate->client;
  return options;
}

ws::Opcode opcode_of(store::Message::Kind kind) {
  switch (kind) {
    case store::Message::Kind::Text:
      return ws::Opcode::Text;
    case store::Message::Kind::Ping:
      return ws::Opcode::Ping;
    default:
      return ws::Opcode::Binary;
  }
}

}  // namespace

WebSocketPlayer::WebSocketPlayer(exchange::Exchange& exchange, std::unique_ptr<WebSocketPart> part,
                                 const WebSocketAgreement& agreed, const WebSocketStage& stage,
                                 const asio::any_io_executor& executor)
    : exchange_(exchange),
      part_(std::move(part)),
      agreed_(agreed),
      stage_(stage),
      reader_(reading(agreed)),
      changed_(executor),
      sent_(executor),
      tasks_(executor),
      due_(executor, [this] { changed_.notify(); }),
      idle_(executor, [this] {
        stage_.metrics->add(Counter::LimitIdleTimeout);
        client_ended_ = true;
        changed_.notify();
      }) {
  if (agreed.deflate) deflater_.emplace(agreed.deflate->server, agreed.deflate->server_window_bits);
}

uint64_t WebSocketPlayer::now() const {
  const auto elapsed = exchange::Clock::now() - began_;
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(elapsed).count());
}

net::Task<Result<void>> WebSocketPlayer::run() {
  idle_.set(stage_.idle_timeout);
  tasks_.spawn(read_client());
  auto played = co_await play();
  tasks_.cancel();
  co_await tasks_.join();
  idle_.clear();  // what is left to do has a limit of its own
  if (breaks_off_) co_await break_off(exchange_, reset_code_of(part_->recording()));
  co_return played;
}

bool WebSocketPlayer::must_pause() const {
  return answers_.size() >= kMaxAnswers || part_->script.backlog() >= kMaxBacklog;
}

net::Task<> WebSocketPlayer::read_client() {
  std::vector<ws::Message> messages;
  while (!client_ended_) {
    while (must_pause() && !client_ended_) {
      co_await sent_.wait();
      const bool wanted = co_await net::is_wanted();
      if (!wanted) co_return;
    }
    auto piece = co_await exchange_.read_body();
    if (!piece && piece.error().code == Code::Cancelled) co_return;
    idle_.set(stage_.idle_timeout);
    client_ended_ = client_ended_ || !piece || piece->end;
    if (piece && !verdict_ && !client_close_) {
      messages.clear();
      const auto read = reader_.feed(piece->bytes, messages);
      for (const ws::Message& message : messages) co_await take(message);
      // As the origin closed it, when it did: the recording has its verdict on the same bytes.
      if (!read && !verdict_) {
        verdict_ = Closing{read.error().code, read.error().detail};
        if (part_->script.close()) verdict_ = Closing{part_->script.close()->code, part_->script.close()->reason};
        exchange_.facts().error = "websocket_protocol";
        exchange_.facts().error_detail = read.error().detail;
      }
    }
    changed_.notify();
  }
}

net::Task<> WebSocketPlayer::take(const ws::Message& message) {
  stage_.metrics->add(Counter::WebSocketUp);
  if (verdict_) co_return;
  switch (message.kind) {
    case ws::Kind::Ping:
      ws::append_frame(answers_, ws::Opcode::Pong, message.payload);
      stage_.metrics->add(Counter::WebSocketDown);
      co_return;
    case ws::Kind::Pong:
      co_return;
    case ws::Kind::Close:
      client_close_ = message;
      co_return;
    case ws::Kind::Text:
    case ws::Kind::Binary:
      break;
  }
  const auto kind = message.kind == ws::Kind::Text ? store::Message::Kind::Text : store::Message::Kind::Binary;
  const uint64_t moment = now();
  remember({store::BodySide::Request, kind, message.payload, moment});
  const bool is_right = part_->script.received(kind, message.payload, moment);
  if (stage_.casting != nullptr && !said_close_) {
    if (!stage_.casting->is_heard()) stage_.casting->hear(part_->script.likeness(kind, message.payload));
    bool goes_on = is_right && stage_.casting->confirm();
    if (!goes_on) {
      const auto among = is_right ? WebSocketCasting::Among::Free : WebSocketCasting::Among::All;
      goes_on = co_await recast(among);
    }
    if (goes_on) co_return;
    if (!is_right) stage_.casting->give_back();
  }
  if (!is_right) miss(part_->script.mismatch(kind, message.payload));
}

void WebSocketPlayer::miss(WebSocketMismatch wrong) {
  exchange::Facts& facts = exchange_.facts();
  facts.outcome = Outcome::Missed;
  facts.error = "websocket_mismatch";
  facts.error_detail = "nearest " + std::to_string(part_->recording().id) + ", " + wrong.reason;
  if (!wrong.rule.empty()) {
    facts.error_detail += "; if that is made anew each time: " + wrong.rule + " in [routes.websocket]";
  }
  stage_.metrics->add(exchange_.flow().identity.label, Counter::MissWebSocket);
  verdict_ = Closing{ws::kPolicy, std::move(wrong.reason)};
}

void WebSocketPlayer::remember(WebSocketScript::Spoken spoken) {
  if (stage_.casting == nullptr || spoken_bytes_ > kMaxSpoken) return;
  spoken_bytes_ += spoken.payload.size() + kSpokenCost;
  spoken_.push_back(std::move(spoken));
  if (spoken_bytes_ > kMaxSpoken) spoken_ = {};
}

net::Task<bool> WebSocketPlayer::recast(WebSocketCasting::Among among) {
  if (spoken_bytes_ > kMaxSpoken) co_return false;
  recasting_ = true;  // and so nothing is added to what was said, which the reader looks at
  bool found = false;
  while (!found) {
    const auto id = stage_.casting->next(among);
    if (!id) break;
    auto read = [this, id = *id] {
      return load_part_that_agrees(*stage_.store, stage_.casting->session(), id, part_->options, spoken_);
    };
    auto other = co_await net::offload(*stage_.readers, read);
    const bool wanted = co_await net::is_wanted();
    if (!wanted) break;
    if (other == nullptr || agreement_with(exchange_.request(), other->recording().response) != agreed_) continue;
    found = stage_.casting->take();
    if (found) part_ = std::move(other);
  }
  recasting_ = false;
  if (found) exchange_.facts().recording = part_->recording().id;
  co_return found;
}

void WebSocketPlayer::append(const WebSocketScript::Line& line) {
  stage_.metrics->add(Counter::WebSocketDown);
  const bool data = line.kind != store::Message::Kind::Ping;
  if (data) remember({store::BodySide::Response, line.kind, line.payload, now()});
  std::optional<std::string> deflated;
  if (data && line.compressed && deflater_) deflated = deflater_->message(line.payload);
  if (deflated) {
    ws::append_frame(out_, opcode_of(line.kind), *deflated, ws::Compressed::Yes);
  } else {
    ws::append_frame(out_, opcode_of(line.kind), line.payload);
  }
}

net::Task<Result<void>> WebSocketPlayer::send_due() {
  while (true) {
    out_ = std::exchange(answers_, {});
    while (out_.size() < kPortion && !recasting_) {
      const auto line = part_->script.next(now());
      if (!line) break;
      append(*line);
    }
    if (out_.empty()) co_return Result<void>{};
    const BodyPiece piece{out_, std::nullopt, false};
    auto written = co_await exchange_.write_body(piece);
    if (!written) co_return written;
    auto flushed = co_await exchange_.flush();
    if (!flushed) co_return flushed;
    idle_.set(stage_.idle_timeout);
    sent_.notify();
  }
}

std::optional<WebSocketPlayer::Closing> WebSocketPlayer::closing() const {
  if (verdict_) return verdict_;
  if (recasting_) return std::nullopt;
  if (client_close_) {
    if (part_->script.close()) return Closing{part_->script.close()->code, part_->script.close()->reason};
    if (is_left_unanswered()) return std::nullopt;
    return Closing{client_close_->code, {}};
  }
  if (!part_->script.is_over()) return std::nullopt;
  if (part_->script.close() && !part_->script.client_closes_first()) {
    return Closing{part_->script.close()->code, part_->script.close()->reason, client_answers_close()};
  }
  if (!part_->script.close() && part_->recording().outcome.kind == OutcomeKind::Incomplete && !client_left()) {
    return Closing{ws::kInternal, "the recording ends here: " + part_->recording().outcome.reason};
  }
  return std::nullopt;
}

// Else the connection was over before the client could, and is so again: clients tell the difference (aiohttp: 1006).
bool WebSocketPlayer::client_answers_close() const {
  return part_->script.client_closes() || part_->recording().outcome.kind != OutcomeKind::Complete;
}

// Between messages or inside one: it is for the client to leave again.
bool WebSocketPlayer::client_left() const {
  return part_->recording().outcome.reason == kClientLeft || part_->recording().outcome.reason == "client_truncated";
}

// The client's Close was on tape, and no answer came. Before version 4 that was also said of clients that had left.
bool WebSocketPlayer::is_left_unanswered() const {
  const store::Recording& recording = part_->recording();
  const bool is_whole = recording.outcome.kind != OutcomeKind::Incomplete && recording.version >= 4;
  return is_whole && part_->script.client_closes() && !part_->script.close();
}

// The origin left without a word, and so do we: when all was said, or the client has said Close as it did then.
bool WebSocketPlayer::ends_without_close() const {
  if (recasting_ || part_->script.close() || client_left()) return false;
  if (part_->recording().outcome.kind == OutcomeKind::Incomplete) return false;
  if (part_->script.client_closes()) return is_left_unanswered() && client_close_.has_value();
  return part_->script.is_over();
}

void WebSocketPlayer::wake_when_due() {
  due_.clear();
  const auto at = part_->script.next_due();
  if (!at || recasting_) return;
  const uint64_t moment = now();
  due_.set(std::chrono::microseconds(*at > moment ? *at - moment : 1));
}

net::Task<Result<void>> WebSocketPlayer::play() {
  while (true) {
    auto sent = co_await send_due();
    if (!sent) co_return sent;
    if (const auto end = closing()) co_return co_await say_close(*end);
    breaks_off_ = ends_without_close() && part_->recording().outcome.kind == OutcomeKind::Reset;
    if (breaks_off_) co_return Result<void>{};
    if (client_ended_ || ends_without_close()) break;
    wake_when_due();
    co_await changed_.wait();
    const bool wanted = co_await net::is_wanted();
    if (!wanted) {
      co_return fail(Code::Cancelled, "the client is gone", Origin::Downstream);
    }
  }
  const http::Headers no_trailers;
  co_return exchange_.end(no_trailers);
}

net::Task<Result<void>> WebSocketPlayer::say_close(const Closing& closing) {
  said_close_ = true;
  std::string frame;
  ws::append_frame(frame, ws::Opcode::Close, ws::close_payload(closing.code, closing.reason));
  stage_.metrics->add(Counter::WebSocketDown);
  const BodyPiece piece{frame, std::nullopt, false};
  auto written = co_await exchange_.write_body(piece);
  if (written) written = co_await exchange_.flush();
  if (!written) co_return written;
  const http::Headers no_trailers;
  if (!closing.awaits_answer) co_return exchange_.end(no_trailers);
  // The server ends the connection, but only when the client has had its word (RFC 6455 7.1.1).
  const asio::any_io_executor executor = co_await asio::this_coro::executor;
  net::Deadline patience(executor, [this] {
    client_ended_ = true;
    changed_.notify();
  });
  patience.set(kPatience);
  while (!client_close_ && !client_ended_ && !verdict_) {
    co_await changed_.wait();
    const bool wanted = co_await net::is_wanted();
    if (!wanted) break;
  }
  co_return exchange_.end(no_trailers);
}

}  // namespace tapdeck::modes
