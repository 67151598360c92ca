#include "daemon/http/h1_codec.h"

#include <algorithm>
#include <string>
#include <utility>

#include "daemon/http/upgrade_offer.h"

namespace tapdeck::http {

namespace {

// RFC 9112 2.2 asks servers to ignore "at least one" empty line before a request; more than a few is no mistake.
constexpr size_t kEmptyLines = 4;

}  // namespace

std::unique_ptr<Codec> make_h1_codec(Role role, Limits limits, std::string_view scheme) {
  return std::make_unique<H1Codec>(role, limits, scheme);
}

H1Codec::H1Codec(Role role, Limits limits, std::string_view scheme)
    : role_(role),
      origin_(role == Role::Server ? Origin::Downstream : Origin::Upstream),
      // A copy of one of two literals, so that no caller's lifetime matters.
      scheme_(scheme == "https" ? std::string_view("https") : std::string_view("http")),
      head_limit_(limits.head_bytes),
      guard_(role, limits),
      witness_(role) {}

Result<std::optional<Event>> H1Codec::next() {
  if (failure_) return std::unexpected(*failure_);
  if (dead_) return std::nullopt;
  release_body();
  stalled_ = false;
  while (!stalled_) {
    auto stepped = step();
    if (!stepped) {
      failure_ = stepped.error();
      return std::unexpected(std::move(stepped).error());
    }
    if (*stepped) return stepped;
  }
  return std::nullopt;
}

H1Codec::Step H1Codec::step() {
  if (going_away_due_) {
    going_away_due_ = false;
    return GoingAway{stream()};
  }
  switch (reading_) {
    case Reading::StartLine:
      return read_start_line();
    case Reading::Fields:
      return read_fields();
    case Reading::Fixed:
    case Reading::ChunkData:
      return read_fixed();
    case Reading::ChunkLine:
      return read_chunk_line();
    case Reading::ChunkEnd:
      return read_chunk_end();
    case Reading::Trailers:
      return read_trailer();
    case Reading::UntilClose:
      return read_until_close();
    case Reading::Complete:
      return complete();
    case Reading::Between:
      return between();
    case Reading::Tunnel:
      break;
  }
  stalled_ = true;
  return std::nullopt;
}

// ---- small tools

StreamId H1Codec::stream() const {
  if (role_ == Role::Server) return current_.id;
  return outstanding_.empty() ? sending_ : outstanding_.front().id;
}

void H1Codec::release_body() {
  in_.consume(body_given_);
  body_given_ = 0;
  if (lines_.whole()) lines_.release(in_);  // a chunk line whose extension was shown
}

// Nothing more to read now: orderly, or the middle of something that will never be whole.
H1Codec::Step H1Codec::wait() {
  stalled_ = true;
  if (eof_ && !at_rest()) return std::unexpected(truncated());
  return std::nullopt;
}

bool H1Codec::at_rest() const {
  switch (reading_) {
    case Reading::StartLine:
      return !lines_.partial() && outstanding_.empty();
    case Reading::UntilClose:
    case Reading::Complete:
    case Reading::Between:
    case Reading::Tunnel:
      return true;
    default:
      return false;
  }
}

Error H1Codec::truncated() const {
  const bool untouched = reading_ == Reading::StartLine && !lines_.partial();
  Error error{Code::Truncated, "connection ended in the middle of a message", origin_, Retry::No, 0};
  if (role_ == Role::Client && untouched) {
    error.detail = "connection ended before a response";
    error.retry = Retry::OnlyIfReused;
  }
  return error;
}

std::unexpected<Error> H1Codec::disagree(std::string_view what) {
  guard_.note_ambiguity();
  return fail(Code::Protocol, std::string("two parsers disagree: ") += what, origin_);
}

Result<std::optional<std::string_view>> H1Codec::line(size_t limit) {
  auto read = lines_.next(in_, limit, origin_);
  if (!read && read.error().code == Code::Protocol) guard_.note_ambiguity();  // some take a CR or LF alone for its end
  return read;
}

Result<void> H1Codec::witness(std::string_view bytes) {
  if (!witness_.feed(bytes)) return disagree(witness_.reason());
  return {};
}

// A line that the guard has stored as the last of `stored`: its colon stands behind the name, or some blanks later.
Result<void> H1Codec::witness_field(std::string_view line, const Headers& stored) {
  const std::string_view name = stored[stored.size() - 1].name;
  if (line[name.size()] == ':') return witness_line(line);
  TRY_VOID(witness(name));
  return witness_line(line.substr(line.find(':')));
}

// ---- heads

void H1Codec::begin_message() {
  guard_.begin();
  witness_.begin();
  trailers_.clear();
  if (role_ == Role::Server) {
    request_.clear();
  } else {
    response_.clear();
  }
}

H1Codec::Step H1Codec::read_start_line() {
  if (role_ == Role::Server && closing_) {  // bytes behind the last request are nobody's
    stalled_ = true;
    return std::nullopt;
  }
  if (role_ == Role::Client && outstanding_.empty()) {
    stalled_ = true;
    if (in_.empty()) return std::nullopt;
    return fail(Code::Protocol, "bytes that answer no request", origin_);
  }
  TRY(text, line(head_limit_));
  if (!text) return wait();
  if (text->empty()) {
    if (role_ == Role::Client || ++empty_lines_ > kEmptyLines) {
      return fail(Code::Protocol, "empty line in front of a message", origin_);
    }
    lines_.release(in_);
    return std::nullopt;
  }
  begin_message();
  TRY_VOID(role_ == Role::Server ? guard_.request_line(*text, request_) : guard_.status_line(*text, response_));
  TRY_VOID(witness_line(*text));
  lines_.release(in_);
  reading_ = Reading::Fields;
  return std::nullopt;
}

H1Codec::Step H1Codec::read_fields() {
  Headers& headers = role_ == Role::Server ? request_.headers : response_.headers;
  while (true) {
    TRY(text, line(guard_.room()));
    if (!text) return wait();
    if (text->empty()) break;
    TRY_VOID(guard_.field(*text, headers));
    TRY_VOID(witness_field(*text, headers));
    lines_.release(in_);
  }
  lines_.release(in_);
  return role_ == Role::Server ? finish_request() : finish_response();
}

H1Codec::Reading H1Codec::after_head() const {
  switch (guard_.framing()) {
    case H1Guard::Framing::None:
      return Reading::Complete;
    case H1Guard::Framing::Length:
      return Reading::Fixed;
    case H1Guard::Framing::Chunked:
      return Reading::ChunkLine;
    case H1Guard::Framing::UntilClose:
      return Reading::UntilClose;
  }
  return Reading::Complete;
}

H1Codec::Step H1Codec::finish_request() {
  TRY_VOID(guard_.finish_request(request_, scheme_));
  TRY_VOID(witness("\r\n"));
  reading_ = after_head();
  body_left_ = guard_.length();
  const bool ends = reading_ == Reading::Complete;
  if (!witness_.head_complete() || witness_.message_complete() != ends) return disagree("end of a request head");
  current_ = {.id = next_stream_,
              .head = request_.method == "HEAD",
              .connect = request_.method == "CONNECT",
              .upgrade = guard_.asks_upgrade() && request_.version == Version::Http11,
              .http10 = request_.version == Version::Http10,
              .continue_awaited = guard_.expects_continue() && !ends};
  next_stream_ += 2;
  answer_ = Answer::None;
  informed_ = false;
  empty_lines_ = 0;
  if (guard_.closes()) closing_ = true;
  return HeadReceived{current_.id, ends ? EndStream::Yes : EndStream::No};
}

H1Codec::Step H1Codec::finish_response() {
  const Exchange& asked = outstanding_.front();
  const int status = response_.status;
  const bool tunnel = status == 101 || (asked.connect && status / 100 == 2);
  if (status == 101 && !(asked.upgrade && takes_upgrade(response_.headers, asked.offer))) {
    return fail(Code::Protocol, "101 that nobody asked for", origin_);
  }
  const auto body = asked.head || tunnel ? H1Guard::Body::None : H1Guard::Body::AsFramed;
  TRY_VOID(guard_.finish_response(response_, body));
  const bool none = guard_.framing() == H1Guard::Framing::None;
  witness_.expect(tunnel ? H1Witness::AfterHead::Upgrade
                  : none ? H1Witness::AfterHead::NoBody
                         : H1Witness::AfterHead::AsFramed);
  TRY_VOID(witness("\r\n"));
  if (!witness_.head_complete() || witness_.message_complete() != none || witness_.status() != status) {
    return disagree("end of a response head");
  }
  if (status < 200 && status != 101) {
    reading_ = Reading::StartLine;
    return InformationalReceived{asked.id};
  }
  reading_ = after_head();
  body_left_ = guard_.length();
  upgrade_due_ = tunnel;
  if (!tunnel && (guard_.closes() || reading_ == Reading::UntilClose)) closing_ = going_away_due_ = true;
  return HeadReceived{asked.id, none ? EndStream::Yes : EndStream::No};
}

// ---- bodies

Event H1Codec::take_body(uint64_t limit, std::optional<ChunkStart> chunk) {
  const std::string_view piece = in_.front();
  const std::string_view bytes = piece.substr(0, std::min<uint64_t>(limit, piece.size()));
  body_given_ = bytes.size();
  return BodyReceived{stream(), bytes, chunk};
}

H1Codec::Step H1Codec::read_fixed(std::optional<ChunkStart> chunk_start) {
  if (in_.empty() && !chunk_start) return wait();
  const Event event = take_body(body_left_, chunk_start);
  TRY_VOID(witness(std::get<BodyReceived>(event).bytes));
  body_left_ -= body_given_;
  if (body_left_ > 0) return event;
  const bool chunk = reading_ == Reading::ChunkData;
  reading_ = chunk ? Reading::ChunkEnd : Reading::Complete;
  if (witness_.message_complete() == chunk) return disagree("end of a body");
  return event;
}

H1Codec::Step H1Codec::read_chunk_line() {
  TRY(text, framing_line(H1Guard::kChunkLineBytes, "chunk line longer than 1024 bytes"));
  if (!text) return wait();
  TRY(chunk, guard_.chunk_line(*text));
  // llhttp is not asked about extensions: its grammar for them is narrower than what is legal.
  const std::string_view digits = guard_.chunk_digits(*text);
  if (digits.size() == text->size()) {
    TRY_VOID(witness_line(*text));
  } else {
    TRY_VOID(witness(digits));
    TRY_VOID(witness("\r\n"));
  }
  if (witness_.chunk_size() != chunk.size || witness_.message_complete()) return disagree("size of a chunk");
  body_left_ = chunk.size;
  reading_ = chunk.size == 0 ? Reading::Trailers : Reading::ChunkData;
  if (!chunk.extension.empty()) return BodyReceived{stream(), {}, chunk};  // a view of the line: keep it this time
  lines_.release(in_);
  if (chunk.size == 0) return std::nullopt;
  return read_fixed(chunk);
}

H1Codec::Step H1Codec::read_chunk_end() {
  TRY(text, framing_line(2, "chunk data longer than its chunk says"));
  if (!text) return wait();
  TRY_VOID(witness_line(*text));
  lines_.release(in_);
  reading_ = Reading::ChunkLine;
  return std::nullopt;
}

H1Codec::Step H1Codec::read_trailer() {
  TRY(text, line(guard_.room()));
  if (!text) return wait();
  if (!text->empty()) TRY_VOID(guard_.trailer(*text, trailers_));
  const bool last = text->empty();
  TRY_VOID(last ? witness_line(*text) : witness_field(*text, trailers_));
  lines_.release(in_);
  if (!last) return std::nullopt;
  if (!witness_.message_complete()) return disagree("end of the trailers");
  reading_ = Reading::Complete;
  if (trailers_.empty()) return std::nullopt;
  return TrailersReceived{stream()};
}

H1Codec::Step H1Codec::read_until_close() {
  if (!in_.empty()) return take_body(UINT64_MAX, std::nullopt);
  if (!eof_) return wait();
  reading_ = Reading::Complete;
  return std::nullopt;
}

// ---- between messages

H1Codec::Step H1Codec::complete() {
  const StreamId done = stream();
  reading_ = Reading::Between;
  if (role_ == Role::Client) outstanding_.erase(outstanding_.begin());
  return MessageComplete{done};
}

H1Codec::Step H1Codec::between() {
  if (role_ == Role::Server && answer_ != Answer::Ended) {
    stalled_ = true;
    return std::nullopt;
  }
  if (upgrade_due_) {
    upgrade_due_ = false;
    reading_ = Reading::Tunnel;
    return Upgraded{role_ == Role::Server ? current_.id : sending_};
  }
  reading_ = Reading::StartLine;
  return std::nullopt;
}

Result<void> H1Codec::end_of_input() {
  eof_ = true;
  if (failure_) return std::unexpected(*failure_);
  // Unread bytes first: next() judges when it has come to their end.
  if (dead_ || in_.size() > body_given_ || at_rest()) return {};
  failure_ = truncated();
  return std::unexpected(*failure_);
}

// ---- state of the connection

bool H1Codec::must_close() const {
  if (failure_ || dead_ || closing_ || upgrade_due_ || reading_ == Reading::Tunnel) return true;
  if (eof_ && in_.size() == body_given_) return true;
  if (role_ == Role::Client) {
    const bool answered_early = writer_.open() && outstanding_.empty();
    return answered_early || (draining_ && outstanding_.empty() && !writer_.open());
  }
  switch (reading_) {
    case Reading::StartLine:
      return draining_;
    case Reading::Fields:
      return false;
    case Reading::Complete:
    case Reading::Between:
      return draining_ && answer_ == Answer::Ended;
    default:  // an answer that did not wait for the whole request
      return answer_ == Answer::Ended;
  }
}

bool H1Codec::is_idle() const {
  const bool between = reading_ == Reading::StartLine ||
                       (reading_ == Reading::Between && (role_ == Role::Client || answer_ == Answer::Ended));
  return between && !upgrade_due_ && !lines_.partial() && in_.empty() && !writer_.open() && outstanding_.empty() &&
         !failure_ && !dead_;
}

}  // namespace tapdeck::http
