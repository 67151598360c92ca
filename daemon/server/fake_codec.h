// Test support: a Codec with HTTP/2's shape and readable frames, one a line: streams interleave, end of stream is apart
// from data, one stream is reset while others go on, and both sides have windows.
//
//   H<id> METHOD target [end]     T<id> name value     E<id>     R<id>     W<id> n      from the client
//   H<id> status [end]   I<id> status   D<id> bytes   T<id> name value   E<id>   R<id> code   W<id> n   G   to it
#pragma once

#include <map>
#include <sstream>
#include <string>

#include "daemon/http/codec.h"

namespace tapdeck::server {

class FakeCodec final : public http::Codec {
 public:
  using StreamId = http::StreamId;
  // Bytes of response body a stream may send before the client's first W frame.
  explicit FakeCodec(size_t window = 1 << 20) : window_(window) {}

  ByteQueue& input() override { return in_; }
  Result<std::optional<http::Event>> next() override {
    const std::string all = in_.to_string();
    const size_t end = all.find('\n');
    if (end == std::string::npos) return std::optional<http::Event>{};
    in_.consume(end + 1);
    const char type = all[0];
    std::istringstream line(all.substr(1, end - 1));
    StreamId stream = 0;
    line >> stream;
    std::string first, second, third;
    switch (type) {
      case 'H': {
        line >> first >> second >> third;
        request_.clear();
        request_.method = first;
        request_.target = second;
        request_.version = http::Version::Http2;
        streams_[stream] = {window_, false};
        return event(http::HeadReceived{stream, third == "end" ? http::EndStream::Yes : http::EndStream::No});
      }
      case 'D':
        line.ignore(1);
        std::getline(line, body_);
        return event(http::BodyReceived{stream, body_, std::nullopt});
      case 'T':
        line >> first >> second;
        trailers_.clear();
        trailers_.add(first, second);
        return event(http::TrailersReceived{stream});
      case 'E':
        return event(http::MessageComplete{stream});
      case 'R':
        streams_.erase(stream);
        return event(http::StreamReset{stream, http::ResetCode::Cancel});
      case 'W': {
        size_t more = 0;
        line >> more;
        if (streams_.contains(stream)) streams_[stream].window += more;
        return next();
      }
      default:
        return fail(Code::Protocol, "not a frame", Origin::Downstream);
    }
  }
  Result<void> end_of_input() override { return {}; }
  http::RequestHead& request_head() override { return request_; }
  http::ResponseHead& response_head() override { return response_; }
  http::Headers& trailers() override { return trailers_; }
  void consumed(StreamId stream, size_t n) override { write('W', stream, std::to_string(n)); }

  ByteQueue& output() override { return out_; }
  Result<StreamId> send_request(const http::RequestHead&, http::EndStream) override {
    return fail(Code::Internal, "a server sends no request");
  }
  Result<void> send_response(StreamId stream, const http::ResponseHead& head, http::EndStream end) override {
    TRY_VOID(check(stream));
    write('H', stream, std::to_string(head.status) + (end == http::EndStream::Yes ? " end" : ""));
    if (end == http::EndStream::Yes) streams_.erase(stream);
    return {};
  }
  Result<void> send_informational(StreamId stream, const http::ResponseHead& head) override {
    TRY_VOID(check(stream));
    write('I', stream, std::to_string(head.status));
    return {};
  }
  Result<size_t> send_body(StreamId stream, std::string_view bytes, const std::optional<http::ChunkStart>&) override {
    TRY_VOID(check(stream));
    size_t& window = streams_[stream].window;
    const size_t accepted = std::min(window, bytes.size());
    window -= accepted;
    if (accepted > 0) write('D', stream, std::string(bytes.substr(0, accepted)));
    return accepted;
  }
  Result<void> send_end(StreamId stream, const http::Headers& trailers) override {
    TRY_VOID(check(stream));
    for (size_t i = 0; i < trailers.size(); ++i) {
      write('T', stream, std::string(trailers[i].name) + ' ' + std::string(trailers[i].value));
    }
    write('E', stream, {});
    streams_.erase(stream);
    return {};
  }
  void reset(StreamId stream, http::ResetCode code) override {
    if (streams_.erase(stream) > 0) write('R', stream, std::to_string(static_cast<uint32_t>(code)));
  }

  size_t send_capacity(StreamId stream) const override {
    const auto found = streams_.find(stream);
    return found == streams_.end() ? 0 : found->second.window;
  }
  bool is_multiplexed() const override { return true; }
  bool must_close() const override { return draining_; }
  void start_drain() override {
    if (!draining_) out_.append("G\n");
    draining_ = true;
  }
  bool is_idle() const override { return streams_.empty() && in_.empty(); }

 private:
  struct Stream {
    size_t window = 0;
    bool ended = false;
  };
  static Result<std::optional<http::Event>> event(http::Event value) { return std::optional<http::Event>(value); }
  [[nodiscard]] Result<void> check(StreamId stream) const {
    if (streams_.contains(stream)) return {};
    return fail(Code::Reset, "the stream is gone", Origin::Downstream);
  }
  void write(char type, StreamId stream, const std::string& rest) {
    out_.append(type + std::to_string(stream) + (rest.empty() ? "" : " ") + rest + '\n');
  }

  ByteQueue in_, out_;
  size_t window_;
  http::RequestHead request_;
  http::ResponseHead response_;
  http::Headers trailers_;
  std::string body_;
  std::map<StreamId, Stream> streams_;
  bool draining_ = false;
};

}  // namespace tapdeck::server
