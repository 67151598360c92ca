// What both directions of H2Codec share: the nghttp2 session, streams, and the life of the connection.
#include "daemon/http/h2_codec.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <utility>

#include "daemon/http/h2_callbacks.h"

namespace tapdeck::http {

namespace {

// nghttp2 ends the connection where a stream passes its limit; RFC 9113 5.1.2 leaves it at the stream. So it is told of
// more than it will ever see: we refuse the first one over the limit, before it gets the next.
constexpr uint32_t kSpareStreams = 100;

// The compressed block may be larger than the list it carries, but not by much: Huffman can lose, indices cannot.
constexpr size_t block_limit(const Limits& limits) {
  return 2 * limits.head_bytes + 16384;
}

struct OptionDeleter {
  void operator()(nghttp2_option* option) const { nghttp2_option_del(option); }
};
using OptionPtr = std::unique_ptr<nghttp2_option, OptionDeleter>;

OptionPtr make_option(const Limits& limits, const H2Options& options) {
  nghttp2_option* raw = nullptr;
  if (nghttp2_option_new(&raw) != 0) std::abort();  // out of memory, as with operator new
  nghttp2_option_set_no_auto_window_update(raw, 1);
  nghttp2_option_set_no_recv_client_magic(raw, 1);  // checked by us, byte by byte
  nghttp2_option_set_no_closed_streams(raw, 1);     // no priority tree of the dead
  nghttp2_option_set_max_reserved_remote_streams(raw, 0);
  nghttp2_option_set_max_send_header_block_length(raw, 4 * limits.head_bytes + 65536);
  // The guard counts these, with a metric; the library's own limits lie behind it.
  nghttp2_option_set_max_continuations(raw, options.budgets.continuations + 1);
  nghttp2_option_set_stream_reset_rate_limit(raw, 1U << 30, 1U << 20);
  nghttp2_option_set_max_outbound_ack(raw, 10000);
  return OptionPtr(raw);
}

}  // namespace

std::unique_ptr<Codec> make_h2_codec(Role role, const Limits& limits, std::string_view scheme,
                                     const H2Options& options) {
  return std::make_unique<H2Codec>(role, limits, scheme, options);
}

H2Codec::H2Codec(Role role, const Limits& limits, std::string_view scheme, const H2Options& options)
    : role_(role),
      origin_(role == Role::Server ? Origin::Downstream : Origin::Upstream),
      scheme_(scheme),
      limits_(limits),
      on_abuse_(options.on_abuse),
      on_too_large_(options.on_too_large),
      max_streams_(options.max_streams),
      guard_(role, options.budgets, block_limit(limits), options.clock, options.max_streams),
      reader_(limits),
      preface_due_(role == Role::Server),
      settings_due_(role == Role::Server) {
  const OptionPtr option = make_option(limits, options);
  const auto* callbacks = Callbacks::table();
  const int made = role == Role::Server ? nghttp2_session_server_new2(&session_, callbacks, this, option.get())
                                        : nghttp2_session_client_new2(&session_, callbacks, this, option.get());
  if (made != 0) std::abort();
  std::array<nghttp2_settings_entry, 4> settings{};
  size_t n = 0;
  settings[n++] = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, options.stream_window};
  settings[n++] = {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<uint32_t>(limits.head_bytes)};
  if (role == Role::Client) {
    settings[n++] = {NGHTTP2_SETTINGS_ENABLE_PUSH, 0};
  } else {
    settings[n++] = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, max_streams_ + kSpareStreams};
    if (options.connect_protocol) settings[n++] = {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1};
  }
  if (nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), n) != 0) std::abort();
  ignore(nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0,
                                               static_cast<int32_t>(options.connection_window)),
         "a smaller window than wanted works too");
}

H2Codec::~H2Codec() {
  nghttp2_session_del(session_);
}

// ---- streams

H2Codec::Stream* H2Codec::find(StreamId id) const {
  const auto at = std::lower_bound(streams_.begin(), streams_.end(), id,
                                   [](const Stream* stream, StreamId wanted) { return stream->id < wanted; });
  return at != streams_.end() && (*at)->id == id ? *at : nullptr;
}

H2Codec::Stream* H2Codec::open(StreamId id) {
  if (spare_.empty()) {
    owned_.push_back(std::make_unique<Stream>());
    spare_.push_back(owned_.back().get());
  }
  Stream* stream = spare_.back();
  spare_.pop_back();
  *stream = Stream();
  stream->id = id;
  streams_.push_back(stream);  // ids only grow
  return stream;
}

void H2Codec::release(StreamId id) {
  Stream* stream = find(id);
  if (stream == nullptr) return;
  streams_.erase(std::find(streams_.begin(), streams_.end(), stream));
  stream->queue.clear();
  spare_.push_back(stream);
}

// ---- connection

void H2Codec::note_abuse(H2Abuse abuse) {
  if (on_abuse_) on_abuse_(abuse);
}

void H2Codec::note_too_large() {
  if (role_ == Role::Server && on_too_large_)
    on_too_large_(reader_.too_many() ? field_limit(origin_) : head_limit(origin_));
}

Error H2Codec::connection_error(Code code, std::string detail) const {
  return Error{code, "HTTP/2: " + std::move(detail), origin_, Retry::No, 0};
}

Error H2Codec::fail_connection(const H2Guard::Fault& fault) {
  if (fault.abuse) note_abuse(*fault.abuse);
  failure_ = connection_error(Code::Protocol, std::string(fault.detail));
  ignore(nghttp2_session_terminate_session(session_, static_cast<uint32_t>(fault.code)),
         "the connection is closed without a word then");
  dirty_ = true;
  return *failure_;
}

Result<void> H2Codec::end_of_input() {
  eof_ = true;
  if (failure_) return std::unexpected(*failure_);
  if (!is_idle()) {
    return std::unexpected(connection_error(Code::Truncated, "the connection ended with open streams"));
  }
  return {};
}

bool H2Codec::must_close() const {
  if (failure_ || closing_ || going_away_) return true;  // after its GOAWAY a client opens no more streams either
  return role_ == Role::Client && draining_;
}

bool H2Codec::is_idle() const {
  return streams_.empty() && next_event_ == events_.size() && payload_left_ == 0 && in_.size() == given_;
}

size_t H2Codec::streams_left() const {
  if (role_ == Role::Server || must_close() || eof_) return 0;
  if (nghttp2_session_get_next_stream_id(session_) > 0x7fffffffU) return 0;
  // 100 until the peer has said (RFC 9113 6.5.2 recommends no less); nghttp2 keeps its word for us afterwards.
  constexpr size_t kAssumed = 100;
  const size_t peers = settings_seen_
                           ? nghttp2_session_get_remote_settings(session_, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
                           : kAssumed;
  const size_t limit = std::min<size_t>(peers, max_streams_);
  return limit > streams_.size() ? limit - streams_.size() : 0;
}

bool H2Codec::takes_extended_connect() const {
  return settings_seen_ && nghttp2_session_get_remote_settings(session_, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1;
}

void H2Codec::start_drain() {
  if (failure_ || closing_) return;
  if (draining_) {
    if (role_ == Role::Server) submit_final_goaway();
    return;
  }
  draining_ = true;
  dirty_ = true;
  if (role_ == Role::Client) {
    ignore(nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, 0, NGHTTP2_NO_ERROR, nullptr, 0), "closing says it too");
    return;
  }
  ignore(nghttp2_submit_shutdown_notice(session_), "the final one follows");
}

void H2Codec::submit_final_goaway() {
  const int32_t last = nghttp2_session_get_last_proc_stream_id(session_);
  ignore(nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, nullptr, 0), "closing says it too");
  guard_.refuse_above(static_cast<StreamId>(last));
  closing_ = true;
  dirty_ = true;
}

}  // namespace tapdeck::http
