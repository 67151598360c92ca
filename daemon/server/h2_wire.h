// Test support: one end of an HTTP/2 connection in clear, blocking, on a Wire: a codec of ours, and what it is told as
// short words ("HEAD 1 200", "BODY 1 abc", "END 1", "RESET 1 8", "GOAWAY 7", "EOF", "ERROR").
//
// What it receives counts as consumed at once, unless hold() was called. Thread: one at a time.
#pragma once

#include <string>

#include "daemon/http/h2_codec.h"
#include "daemon/server/wire.h"

namespace tapdeck::server {

class H2Wire {
 public:
  H2Wire(Wire& wire, http::Role role, const http::H2Options& options = {})
      : wire_(wire), role_(role), codec_(http::make_h2_codec(role, {}, "http", options)) {}

  [[nodiscard]] http::Codec& codec() { return *codec_; }
  // The request of the last HEAD (server), or its response (client).
  [[nodiscard]] const http::RequestHead& request() { return request_; }
  [[nodiscard]] const http::ResponseHead& response() { return response_; }
  void hold() { consume_ = false; }

  bool flush() {
    while (!codec_->output().empty()) {
      const std::string bytes = codec_->output().to_string();
      codec_->output().consume(bytes.size());
      if (!wire_.write(bytes)) return false;
    }
    return true;
  }
  // A POST whose body is to follow.
  http::StreamId open_post(std::string path, const http::Headers& headers = {}) {
    return begin("POST", std::move(path), headers, http::EndStream::No);
  }
  http::StreamId request(std::string method, std::string path, std::string body = {},
                         const http::Headers& headers = {}) {
    const auto end = body.empty() ? http::EndStream::Yes : http::EndStream::No;
    const http::StreamId stream = begin(std::move(method), std::move(path), headers, end);
    if (stream != 0 && !body.empty()) send(stream, body);
    flush();
    return stream;
  }
  // All of it, as windows open, and the end of the message.
  void send(http::StreamId stream, std::string_view body, const http::Headers& trailers = {}) {
    while (!body.empty()) {
      auto accepted = codec_->send_body(stream, body, std::nullopt);
      ASSERT_TRUE(accepted);
      body.remove_prefix(*accepted);
      flush();
      if (*accepted == 0 && next().starts_with("E")) return;
    }
    EXPECT_TRUE(codec_->send_end(stream, trailers));
    flush();
  }
  void respond(http::StreamId stream, int status, std::string_view body, const http::Headers& trailers = {}) {
    http::ResponseHead head;
    head.status = status;
    head.version = http::Version::Http2;
    EXPECT_TRUE(codec_->send_response(stream, head, http::EndStream::No));
    send(stream, body, trailers);
  }

  // The next thing that happens.
  std::string next() {
    while (true) {
      auto event = codec_->next();
      flush();
      if (!event) return "ERROR " + event.error().detail;
      if (event->has_value()) return name(**event);
      const std::string more = wire_.read_some();
      if (more.empty()) return "EOF";
      codec_->input().append(more);
    }
  }
  // Up to and with the first that begins with `word`; bodies of one stream are joined.
  std::string until(std::string_view word) {
    std::string all;
    while (true) {
      const std::string what = next();
      all += (all.empty() ? "" : ", ") + what;
      if (what.starts_with(word) || what == "EOF" || what.starts_with("ERROR")) return all;
    }
  }

 private:
  http::StreamId begin(std::string method, std::string path, const http::Headers& headers, http::EndStream end) {
    http::RequestHead head;
    head.method = std::move(method);
    head.target = std::move(path);
    head.scheme = "http";
    head.authority = "api.test";
    head.version = http::Version::Http2;
    head.headers = headers;
    auto stream = codec_->send_request(head, end);
    EXPECT_TRUE(stream);
    flush();
    return stream.value_or(0);
  }
  std::string name(const http::Event& event) {
    if (const auto* head = std::get_if<http::HeadReceived>(&event)) {
      if (role_ == http::Role::Server) {
        request_ = codec_->request_head();
        return "HEAD " + std::to_string(head->stream) + ' ' + request_.method + ' ' + request_.target;
      }
      response_ = codec_->response_head();
      return "HEAD " + std::to_string(head->stream) + ' ' + std::to_string(response_.status);
    }
    if (const auto* body = std::get_if<http::BodyReceived>(&event)) {
      std::string text = "BODY " + std::to_string(body->stream) + ' ' + std::string(body->bytes);
      if (consume_) codec_->consumed(body->stream, body->bytes.size());
      flush();
      return text;
    }
    if (const auto* trailers = std::get_if<http::TrailersReceived>(&event)) {
      return "TRAILERS " + std::to_string(trailers->stream) + ' ' + std::string(codec_->trailers()[0].name);
    }
    if (const auto* end = std::get_if<http::MessageComplete>(&event)) return "END " + std::to_string(end->stream);
    if (const auto* reset = std::get_if<http::StreamReset>(&event)) {
      return "RESET " + std::to_string(reset->stream) + ' ' + std::to_string(static_cast<uint32_t>(reset->code));
    }
    if (const auto* away = std::get_if<http::GoingAway>(&event)) return "GOAWAY " + std::to_string(away->last_stream);
    return "OTHER";
  }

  Wire& wire_;
  http::Role role_;
  std::unique_ptr<http::Codec> codec_;
  http::RequestHead request_;
  http::ResponseHead response_;
  bool consume_ = true;
};

}  // namespace tapdeck::server
