// The receiving half of H2Codec: input() -> guard -> nghttp2 -> events.
#include <algorithm>
#include <utility>

#include "daemon/http/h1_syntax.h"
#include "daemon/http/h2_callbacks.h"

namespace tapdeck::http {

namespace {

// RFC 9113 section 6.8: a GOAWAY is at least the last stream's id and a code.
constexpr size_t kGoawayBytes = 8;
constexpr size_t kLastStreamBytes = 4;
constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

StreamId id_of(const nghttp2_frame& frame) {
  return static_cast<StreamId>(frame.hd.stream_id);
}

bool ends_stream(const nghttp2_frame& frame) {
  return (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
}

}  // namespace

Result<std::optional<Event>> H2Codec::next() {
  while (true) {
    if (next_event_ < events_.size()) return events_[next_event_++];
    events_.clear();
    next_event_ = 0;
    if (failure_) return std::unexpected(*failure_);
    TRY(fed, feed());
    // What nghttp2 has to say may be GOAWAY, or close streams: at once, so that events are in the order of the bytes.
    if (dirty_ && nghttp2_session_get_outbound_queue_size(session_) > 0) pump(kOutputBytes);
    if (!fed && !failure_ && events_.empty()) return std::nullopt;
  }
}

Result<void> H2Codec::take_preface() {
  const std::string_view begun = in_.contiguous(std::min(in_.size(), kPreface.size()));
  if (!kPreface.starts_with(begun)) {
    return std::unexpected(fail_connection({ResetCode::ProtocolError, "not the preface of HTTP/2", std::nullopt}));
  }
  if (begun.size() < kPreface.size()) return {};
  in_.consume(kPreface.size());
  preface_due_ = false;
  return {};
}

// One frame at most, or what there is of it: the guard decides before nghttp2 sees its first byte.
Result<bool> H2Codec::feed() {
  in_.consume(given_);
  given_ = 0;
  if (preface_due_) {
    TRY_VOID(take_preface());
    if (preface_due_) return false;
  }
  if (payload_left_ == 0) {
    if (in_.size() < H2FrameHeader::kBytes) return false;
    const auto header = H2FrameHeader::parse(in_.contiguous(H2FrameHeader::kBytes));
    const bool is_farewell = role_ == Role::Server && header.type == NGHTTP2_GOAWAY && header.length >= kGoawayBytes;
    if (is_farewell && in_.size() < H2FrameHeader::kBytes + kLastStreamBytes) return false;
    if (auto fault = guard_.judge(header)) return std::unexpected(fail_connection(*fault));
    payload_left_ = H2FrameHeader::kBytes + header.length;
    if (Stream* stream = cut_short_by(header)) {
      TRY_VOID(feed_cut(header, *stream));
      return true;
    }
    if (is_farewell) {
      TRY_VOID(feed_farewell());
      return true;
    }
  }
  const std::string_view piece = in_.front().substr(0, payload_left_);
  if (piece.empty()) return false;
  TRY_VOID(give(piece));
  given_ = piece.size();
  payload_left_ -= piece.size();
  return true;
}

Result<void> H2Codec::give(std::string_view bytes) {
  dirty_ = true;
  const auto read = nghttp2_session_mem_recv(session_, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  if (read >= 0) return {};
  const std::string_view what = nghttp2_strerror(static_cast<int>(read));
  return std::unexpected(fail_connection({ResetCode::InternalError, what, std::nullopt}));
}

// Padding counts as body here: an end that is short only without it is left to nghttp2.
H2Codec::Stream* H2Codec::cut_short_by(const H2FrameHeader& frame) {
  if (role_ != Role::Server || frame.type != NGHTTP2_DATA || (frame.flags & NGHTTP2_FLAG_END_STREAM) == 0)
    return nullptr;
  Stream* stream = find(frame.stream);
  const bool is_short = stream != nullptr && stream->head_sent && stream->request_left.value_or(0) > frame.length;
  return is_short ? stream : nullptr;
}

// The frame without its END_STREAM. The stream ends when our answer does, with RST_STREAM(NO_ERROR).
Result<void> H2Codec::feed_cut(const H2FrameHeader& frame, Stream& stream) {
  std::string header(in_.contiguous(H2FrameHeader::kBytes));
  header[4] = static_cast<char>(frame.flags & ~NGHTTP2_FLAG_END_STREAM);
  in_.consume(H2FrameHeader::kBytes);
  payload_left_ = frame.length;
  TRY_VOID(give(header));
  if (!stream.given_up) emit(StreamReset{stream.id, ResetCode::NoError, true});
  stream.reset_behind_end = true;
  if (!stream.local_ended) return {};
  reset(stream.id, ResetCode::NoError);
  return {};
}

// A client's GOAWAY names the last stream of ours that it looked at, and we open none (no push). Some clients write
// what they like there, grpc-go 2^31-1, for which nghttp2 would end the connection and the streams still open on it.
Result<void> H2Codec::feed_farewell() {
  std::string begun(in_.contiguous(H2FrameHeader::kBytes));
  in_.consume(H2FrameHeader::kBytes + kLastStreamBytes);
  begun.append(kLastStreamBytes, '\0');
  payload_left_ -= begun.size();
  return give(begun);
}

void H2Codec::consumed(StreamId stream, size_t n) {
  if (n == 0 || failure_) return;
  ignore(nghttp2_session_consume(session_, static_cast<int32_t>(stream), n), "more than received: no window for it");
  dirty_ = true;
}

// What was read and not yet told of a stream that the application has given up.
void H2Codec::forget_events(StreamId stream) {
  const auto of_stream = [&](const Event& event) {
    return std::visit(
        [&](const auto& e) {
          if constexpr (requires { e.stream; }) return e.stream == stream;
          return false;
        },
        event);
  };
  const auto begin = events_.begin() + static_cast<ptrdiff_t>(next_event_);
  for (auto at = begin; at != events_.end(); ++at) {
    const auto* body = std::get_if<BodyReceived>(&*at);
    if (body != nullptr && body->stream == stream) consumed(stream, body->bytes.size());
  }
  events_.erase(std::remove_if(begin, events_.end(), of_stream), events_.end());
}

// ---- header blocks

int H2Codec::begin_block(const nghttp2_frame& frame) {
  const StreamId id = id_of(frame);
  Stream* stream = find(id);
  if (role_ == Role::Server && frame.headers.cat == NGHTTP2_HCAT_REQUEST) {
    const bool is_full = streams_.size() >= max_streams_;
    stream = open(id);
    if (is_full) refuse_message(*stream, ResetCode::RefusedStream);
  }
  skip_block_ = stream == nullptr || stream->given_up;
  if (skip_block_) return 0;
  const auto head = role_ == Role::Server ? H2HeadReader::Block::Request : H2HeadReader::Block::Response;
  reader_.begin(stream->head_seen ? H2HeadReader::Block::Trailers : head, request_, response_, trailers_);
  return 0;
}

int H2Codec::field(const nghttp2_frame& frame, std::string_view name, std::string_view value) {
  if (skip_block_ || reader_.add(name, value) != H2HeadReader::Fit::Hopeless) return 0;
  // nghttp2 decodes the rest, as HPACK demands, and shows it to nobody.
  note_too_large();
  note_abuse(reader_.too_many() ? H2Abuse::HeaderCount : H2Abuse::Hpack);
  if (Stream* stream = find(id_of(frame))) refuse_message(*stream, ResetCode::EnhanceYourCalm);
  return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

void H2Codec::block_done(const nghttp2_frame& frame, Stream& stream) {
  const EndStream end = ends_stream(frame) ? EndStream::Yes : EndStream::No;
  if (skip_block_) {
    stream.remote_ended |= end == EndStream::Yes;
    return;
  }
  if (reader_.too_large()) {
    note_too_large();
    stream.remote_ended |= end == EndStream::Yes;
    if (role_ == Role::Server && !stream.head_seen) return answer_too_large(stream);
    return refuse_message(stream, ResetCode::EnhanceYourCalm);
  }
  if (const auto fault = reader_.finish()) {
    complaint_ = *fault;
    return refuse_message(stream, ResetCode::ProtocolError);
  }
  if (stream.head_seen) {
    emit(TrailersReceived{stream.id});
    return remote_end(stream);
  }
  head_done(stream, end);
}

void H2Codec::head_done(Stream& stream, EndStream end) {
  if (role_ == Role::Client && response_.status < 200) {
    emit(InformationalReceived{stream.id});
    return;
  }
  stream.head_seen = true;
  stream.shown = true;
  if (role_ == Role::Server) {
    if (request_.scheme.empty()) request_.scheme = scheme_;
    stream.head_request = request_.method == "HEAD";
    stream.websocket = request_.method == "CONNECT" && iequals(request_.protocol, "websocket");
    const auto length = end == EndStream::Yes ? std::nullopt : request_.headers.find("content-length");
    if (length) stream.request_left = parse_length(*length);
  }
  emit(HeadReceived{stream.id, end});
  if (end == EndStream::Yes) remote_end(stream);
}

void H2Codec::remote_end(Stream& stream) {
  stream.remote_ended = true;
  if (!stream.given_up) emit(MessageComplete{stream.id});
}

// The message is malformed or too large: only its stream ends (RFC 9113 8.1.1).
void H2Codec::refuse_message(Stream& stream, ResetCode code) {
  if (stream.given_up) return;
  stream.given_up = true;
  if (stream.shown) emit(StreamReset{.stream = stream.id, .code = code, .ours = true});
  ignore(nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, static_cast<int32_t>(stream.id),
                                   static_cast<uint32_t>(code)),
         "out of memory ends the connection at the next write");
  dirty_ = true;
}

// ---- frames

void H2Codec::frame_received(const nghttp2_frame& frame) {
  switch (frame.hd.type) {
    case NGHTTP2_HEADERS:
      if (Stream* stream = find(id_of(frame))) block_done(frame, *stream);
      break;
    case NGHTTP2_DATA:
      if (!ends_stream(frame)) break;
      if (Stream* stream = find(id_of(frame))) remote_end(*stream);
      break;
    case NGHTTP2_RST_STREAM:
      if (Stream* stream = find(id_of(frame))) stream->peer_reset = true;
      break;
    case NGHTTP2_SETTINGS:
      settings_seen_ |= (frame.hd.flags & NGHTTP2_FLAG_ACK) == 0;
      break;
    case NGHTTP2_PING:
      if ((frame.hd.flags & NGHTTP2_FLAG_ACK) != 0 && draining_ && !closing_ && role_ == Role::Server) {
        submit_final_goaway();
      }
      break;
    case NGHTTP2_GOAWAY:
      going_away_ = true;
      emit(GoingAway{static_cast<StreamId>(frame.goaway.last_stream_id),
                     static_cast<ResetCode>(frame.goaway.error_code)});
      break;
    default:
      break;
  }
}

void H2Codec::closed(StreamId id, uint32_t code) {
  guard_.closed(id);
  Stream* stream = find(id);
  if (stream == nullptr) return;
  // What follows a reset is that stream's error alone (RFC 9113 5.1), and no loss to a client: gRPC's C core sends a
  // head behind the reset of a call at its deadline.
  if (role_ == Role::Client && stream->peer_reset) guard_.reset(id);
  const bool whole = stream->remote_ended && stream->local_ended;
  // A server that has answered may decline the rest of the request with NO_ERROR: nothing of the answer is lost.
  const bool declined = role_ == Role::Client && stream->remote_ended && code == NGHTTP2_NO_ERROR;
  if (whole) guard_.exchange_ended();
  if (!whole && !declined && stream->shown && !stream->given_up) {
    // Nobody else finds a message malformed; a GOAWAY ends streams with other codes.
    const bool ours = !stream->peer_reset && code == NGHTTP2_PROTOCOL_ERROR;
    emit(StreamReset{.stream = id, .code = static_cast<ResetCode>(code), .ours = ours});
  }
  release(id);
}

// ---- nghttp2's side

const nghttp2_session_callbacks* H2Codec::Callbacks::table() {
  static const nghttp2_session_callbacks* const made = [] {
    nghttp2_session_callbacks* raw = nullptr;
    if (nghttp2_session_callbacks_new(&raw) != 0) std::abort();
    nghttp2_session_callbacks_set_on_begin_headers_callback(raw, begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(raw, header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(raw, invalid_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(raw, data_chunk);
    nghttp2_session_callbacks_set_on_frame_recv_callback(raw, frame_received);
    nghttp2_session_callbacks_set_on_stream_close_callback(raw, stream_closed);
    nghttp2_session_callbacks_set_error_callback2(raw, complaint);
    nghttp2_session_callbacks_set_on_frame_send_callback(raw, frame_sent);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(raw, frame_not_sent);
    nghttp2_session_callbacks_set_send_data_callback(raw, send_data);
    return raw;
  }();
  return made;
}

int H2Codec::Callbacks::begin_headers(nghttp2_session* /*session*/, const nghttp2_frame* frame, void* codec) {
  if (frame->hd.type != NGHTTP2_HEADERS) return 0;
  return static_cast<H2Codec*>(codec)->begin_block(*frame);
}

int H2Codec::Callbacks::header(nghttp2_session* /*session*/, const nghttp2_frame* frame, const uint8_t* name,
                               size_t name_size, const uint8_t* value, size_t value_size, uint8_t /*flags*/,
                               void* codec) {
  return static_cast<H2Codec*>(codec)->field(*frame, {reinterpret_cast<const char*>(name), name_size},
                                             {reinterpret_cast<const char*>(value), value_size});
}

// nghttp2 would leave the field out; a message that another parser might read differently is refused whole.
int H2Codec::Callbacks::invalid_header(nghttp2_session* /*session*/, const nghttp2_frame* frame,
                                       const uint8_t* /*name*/, size_t /*name_size*/, const uint8_t* /*value*/,
                                       size_t /*value_size*/, uint8_t /*flags*/, void* codec) {
  auto* self = static_cast<H2Codec*>(codec);
  if (Stream* stream = self->find(id_of(*frame))) self->refuse_message(*stream, ResetCode::ProtocolError);
  return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

int H2Codec::Callbacks::data_chunk(nghttp2_session* /*session*/, uint8_t /*flags*/, int32_t stream, const uint8_t* data,
                                   size_t size, void* codec) {
  auto* self = static_cast<H2Codec*>(codec);
  Stream* known = self->find(static_cast<StreamId>(stream));
  if (known != nullptr && known->request_left) *known->request_left -= std::min<uint64_t>(*known->request_left, size);
  if (known == nullptr || known->given_up) {
    self->consumed(static_cast<StreamId>(stream), size);
  } else {
    self->emit(BodyReceived{known->id, {reinterpret_cast<const char*>(data), size}, std::nullopt});
  }
  return 0;
}

int H2Codec::Callbacks::frame_received(nghttp2_session* /*session*/, const nghttp2_frame* frame, void* codec) {
  static_cast<H2Codec*>(codec)->frame_received(*frame);
  return 0;
}

int H2Codec::Callbacks::stream_closed(nghttp2_session* /*session*/, int32_t stream, uint32_t code, void* codec) {
  static_cast<H2Codec*>(codec)->closed(static_cast<StreamId>(stream), code);
  return 0;
}

int H2Codec::Callbacks::complaint(nghttp2_session* /*session*/, int /*library_code*/, const char* text, size_t size,
                                  void* codec) {
  static_cast<H2Codec*>(codec)->complaint_.assign(text, size);
  return 0;
}

}  // namespace tapdeck::http
