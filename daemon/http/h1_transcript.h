// Test support: runs bytes through an H1Codec and writes what came out as text, one event a line. Pieces of one body
// are joined, so the text does not depend on how the input was cut; that is what the tests and the fuzzer compare.
//
// Not part of the daemon: included by *_test.cc and *_fuzz.cc only.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "daemon/http/h1_codec.h"

namespace tapdeck::http {

struct TranscriptOptions {
  Role role = Role::Server;
  Limits limits{};
  // Client: the requests whose answers are read. "METHOD" or "METHOD upgrade".
  std::vector<std::string> requests = {"GET"};
  bool eof = true;           // the peer closes after the last byte
  bool show_detail = false;  // error text, not only its code
  int answer = 200;          // server: status that each request is answered with
};

class Transcript {
 public:
  explicit Transcript(const TranscriptOptions& options)
      : options_(options), codec_(make_h1_codec(options.role, options.limits)) {
    if (options_.role == Role::Server) return;
    for (const std::string& wanted : options_.requests) {
      RequestHead head;
      const size_t space = wanted.find(' ');
      head.method = wanted.substr(0, space);
      head.target = head.method == "CONNECT" ? "a:443" : "/";
      head.headers.add("Host", "a");
      if (space != std::string::npos) {
        head.headers.add("Connection", "upgrade");
        head.headers.add("Upgrade", "websocket");
      }
      const auto sent = codec_->send_request(head, EndStream::Yes);
      if (!sent) text_ += "unsent " + std::string(to_string(sent.error().code)) + "\n";
    }
  }

  void feed(std::string_view bytes) {
    codec_->input().append(bytes);
    drive();
  }
  std::string finish() {
    if (options_.eof && !failed_) {
      if (auto ended = codec_->end_of_input(); !ended) {
        error(ended.error());
      } else {
        drive();
      }
    }
    flush();
    if (tunnelled_) text_ += "left " + quoted(codec_->input().to_string()) + "\n";
    return std::move(text_);
  }
  [[nodiscard]] Codec& codec() { return *codec_; }

  static std::string quoted(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
      if (c == '\r') {
        out += "\\r";
      } else if (c == '\n') {
        out += "\\n";
      } else {
        out += c;
      }
    }
    return out + "\"";
  }

 private:
  void drive() {
    while (!failed_) {
      auto event = codec_->next();
      if (!event) return error(event.error());
      if (!*event) return;
      std::visit([this](const auto& e) { show(e); }, **event);
    }
  }
  void line(const std::string& text) {
    flush();
    text_ += text + "\n";
  }
  void flush() {
    if (!body_.empty()) text_ += "body " + quoted(body_) + "\n";
    body_.clear();
  }
  void error(const Error& e) {
    failed_ = true;
    flush();
    text_ += "error " + std::string(to_string(e.code)) + (e.retry == Retry::OnlyIfReused ? " if-reused" : "") +
             (options_.show_detail ? ": " + e.detail : "") + "\n";
  }
  void fields(const Headers& headers) {
    for (size_t i = 0; i < headers.size(); ++i) {
      text_ += "  " + std::string(headers[i].name) + ": " + std::string(headers[i].value) + "\n";
    }
  }
  void show(const HeadReceived& e) {
    const std::string tail = e.end == EndStream::Yes ? " end" : "";
    const std::string id = std::to_string(e.stream);
    if (options_.role == Role::Server) {
      const RequestHead& head = codec_->request_head();
      line("head " + id + " " + head.method + " " + head.target +
           (head.version == Version::Http10 ? " 1.0 " : " 1.1 ") + head.scheme + " " + head.authority + tail);
      fields(head.headers);
    } else {
      const ResponseHead& head = codec_->response_head();
      line("head " + id + " " + std::to_string(head.status) + " " + quoted(head.reason) +
           (head.version == Version::Http10 ? " 1.0" : " 1.1") + tail);
      fields(head.headers);
    }
  }
  void show(const InformationalReceived& e) {
    line("info " + std::to_string(e.stream) + " " + std::to_string(codec_->response_head().status));
    fields(codec_->response_head().headers);
  }
  void show(const BodyReceived& e) {
    if (e.chunk) line("chunk " + std::to_string(e.chunk->size) + std::string(e.chunk->extension));
    body_.append(e.bytes);
    codec_->consumed(e.stream, e.bytes.size());
  }
  void show(const TrailersReceived& e) {
    line("trailers " + std::to_string(e.stream));
    fields(codec_->trailers());
  }
  void show(const MessageComplete& e) {
    line("complete " + std::to_string(e.stream));
    if (options_.role == Role::Server) answer(e.stream);
  }
  void show(const Upgraded& e) {
    line("upgraded " + std::to_string(e.stream));
    tunnelled_ = true;
  }
  void show(const StreamReset& e) { line("reset " + std::to_string(e.stream)); }
  void show(const GoingAway& e) { line("going-away " + std::to_string(e.last_stream)); }

  void answer(StreamId stream) {
    ResponseHead head;
    head.status = options_.answer;
    head.reason = "X";
    if (auto sent = codec_->send_response(stream, head, EndStream::Yes); !sent) {
      line("unsent " + std::string(to_string(sent.error().code)));
    }
  }

  TranscriptOptions options_;
  std::unique_ptr<Codec> codec_;
  std::string text_;
  std::string body_;
  bool failed_ = false;
  bool tunnelled_ = false;
};

inline std::string transcript(std::string_view bytes, const TranscriptOptions& options = {}) {
  Transcript run(options);
  run.feed(bytes);
  return run.finish();
}

// Cut once at `at`.
inline std::string transcript_cut(std::string_view bytes, size_t at, const TranscriptOptions& options) {
  Transcript run(options);
  run.feed(bytes.substr(0, at));
  run.feed(bytes.substr(at));
  return run.finish();
}

inline std::string transcript_bytewise(std::string_view bytes, const TranscriptOptions& options) {
  Transcript run(options);
  for (size_t i = 0; i < bytes.size(); ++i) run.feed(bytes.substr(i, 1));
  return run.finish();
}

}  // namespace tapdeck::http
