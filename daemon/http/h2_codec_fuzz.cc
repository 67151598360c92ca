// Fuzzes H2Codec in both roles. First byte: bit 0 the role, bit 1 a proper beginning (preface, SETTINGS) is put in
// front, bits 2.. how the application behaves; second byte: seed of the cuts. Rest: what the peer sends.
//
// Asserts: however the input is cut, the application is told the same; nothing is told of a stream after its end; bytes
// and windows stay bounded.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "daemon/http/h2_transcript.h"

using namespace tapdeck;
using namespace tapdeck::http;

namespace {

void require(bool ok, const char* what, const std::string& a = {}, const std::string& b = {}) {
  if (ok) return;
  std::fprintf(stderr, "%s\n--- one\n%s\n--- other\n%s\n", what, a.c_str(), b.c_str());
  std::abort();
}

enum class Life { Open, Complete, Reset };

class Run {
 public:
  Run(Role role, uint8_t behaviour) : role_(role), behaviour_(behaviour) {
    H2Options options;
    // No input can pass it: how much of an overlong frame is let through depends on what was consumed before its rest.
    options.stream_window = 65535;
    options.on_abuse = [this](H2Abuse what) { ends_ += "abuse " + std::to_string(static_cast<int>(what)) + "\n"; };
    codec_ = make_h2_codec(role, {.head_bytes = 1024, .headers = 16}, "https", options);
    if (role == Role::Server) return;
    for (const char* method : {"GET", "POST", "HEAD"}) {
      RequestHead head;
      head.version = Version::Http2;
      head.method = method;
      head.target = "/";
      head.authority = "a";
      const auto sent = codec_->send_request(head, head.method == "POST" ? EndStream::No : EndStream::Yes);
      require(sent.has_value(), "a client takes its first requests");
    }
  }

  void feed(std::string_view bytes) {
    codec_->input().append(bytes);
    while (!failed_) {
      auto event = codec_->next();
      if (!event) {
        failed_ = true;
        text_ += "error " + std::string(to_string(event.error().code)) + "\n";
        require(codec_->must_close(), "a broken connection has to close");
        break;
      }
      if (!*event) break;
      std::visit([this](const auto& e) { show(e); }, **event);
      written_ += codec_->output().size();
      codec_->output().clear();  // streams close as their last frame is written: at the same byte in every run
    }
    written_ += codec_->output().size();
    codec_->output().clear();
    fed_ += bytes.size();
    require(written_ <= 4096 + 64 * fed_ + answers_, "more is written than the input can ask for");
  }
  // Bodies of streams that were reset are left out: how much of a frame was shown before its fault is the cut's doing.
  // So is whether a stream was reset before the connection broke inside the same frame.
  std::string finish() {
    const auto ended = codec_->end_of_input();
    ignore(ended, "open streams make it Truncated");
    for (const auto& [stream, bytes] : bodies_) {
      if (life_[stream] != Life::Reset && !failed_) text_ += "body " + std::to_string(stream) + " " + bytes + "\n";
    }
    return failed_ ? text_ : text_ + ends_;
  }

  // Whether a client opens a window too far depends on how much of it was used by then, and so on the cut.
  [[nodiscard]] bool has_overflowed() const { return overflowed_; }

 private:
  void fields(const Headers& headers) {
    for (size_t i = 0; i < headers.size(); ++i) {
      text_ += "  " + std::string(headers[i].name) + ": " + std::string(headers[i].value) + "\n";
    }
  }
  void say(const std::string& what, StreamId stream) {
    text_ += what + " " + std::to_string(stream) + "\n";
    require(life_[stream] == Life::Open, "told of a stream that has ended", text_);
  }
  void show(const HeadReceived& e) {
    say("head", e.stream);
    if (role_ == Role::Server) {
      const RequestHead& head = codec_->request_head();
      text_ += head.method + " " + head.target + " " + head.scheme + " " + head.authority + " " + head.protocol + "\n";
      fields(head.headers);
    } else {
      text_ += std::to_string(codec_->response_head().status) + "\n";
      fields(codec_->response_head().headers);
    }
    if (role_ == Role::Server && (behaviour_ & 1) != 0) answer(e.stream);
  }
  void show(const InformationalReceived& e) { say("info", e.stream); }
  void show(const BodyReceived& e) {
    require(life_[e.stream] == Life::Open, "body after the end", text_);
    bodies_[e.stream].append(e.bytes);
    if ((behaviour_ & 2) == 0) codec_->consumed(e.stream, e.bytes.size());
  }
  void show(const TrailersReceived& e) {
    say("trailers", e.stream);
    fields(codec_->trailers());
  }
  void show(const MessageComplete& e) {
    say("complete", e.stream);
    life_[e.stream] = Life::Complete;
    if (role_ == Role::Server && (behaviour_ & 1) == 0) answer(e.stream);
  }
  void show(const Upgraded& e) { say("upgraded", e.stream); }
  void show(const StreamReset& e) {
    overflowed_ |= e.code == ResetCode::FlowControlError;
    ends_ += "reset " + std::to_string(e.stream) + " " + std::to_string(static_cast<uint32_t>(e.code)) + "\n";
    require(life_[e.stream] != Life::Reset, "reset twice", text_);
    life_[e.stream] = Life::Reset;
  }
  void show(const GoingAway& e) { text_ += "going-away " + std::to_string(e.last_stream) + "\n"; }

  void answer(StreamId stream) {
    answers_ += 100000;
    switch ((behaviour_ >> 2) % 4) {
      case 0: {
        ResponseHead head;
        head.status = 200;
        if (!codec_->send_response(stream, head, EndStream::No)) return;
        if (!codec_->send_body(stream, std::string(3000, 'x'))) return;
        Headers trailers;
        trailers.add("a", "b");
        ignore(codec_->send_end(stream, trailers), "a stream may be gone");
        return;
      }
      case 1:
        codec_->reset(stream, ResetCode::Cancel);
        life_[stream] = Life::Reset;
        return;
      case 2: {
        ResponseHead head;
        head.status = 204;
        ignore(codec_->send_response(stream, head, EndStream::Yes), "a stream may be gone");
        codec_->reset(stream, ResetCode::NoError);
        return;
      }
      default:
        codec_->start_drain();
        return;
    }
  }

  Role role_;
  uint8_t behaviour_;
  std::unique_ptr<Codec> codec_;
  std::map<StreamId, Life> life_;
  std::map<StreamId, std::string> bodies_;
  std::string text_, ends_;
  size_t written_ = 0, fed_ = 0, answers_ = 0;
  bool failed_ = false, overflowed_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2 || size > 32768) return 0;
  const Role role = (data[0] & 1) == 0 ? Role::Server : Role::Client;
  const uint8_t behaviour = data[0] >> 2;
  std::string bytes;
  if ((data[0] & 2) == 0) {
    if (role == Role::Server) bytes.append(kH2Preface);
    bytes += settings() + settings_ack();
  }
  bytes.append(reinterpret_cast<const char*>(data + 2), size - 2);

  Run whole(role, behaviour);
  whole.feed(bytes);
  const std::string expected = whole.finish();

  Run cut(role, behaviour);
  uint32_t seed = data[1] + 1U;
  for (size_t at = 0; at < bytes.size();) {
    seed = seed * 1664525U + 1013904223U;
    const size_t n = std::min<size_t>(bytes.size() - at, data[1] == 0 ? 1 : 1 + (seed >> 24) % 40);
    cut.feed(std::string_view(bytes).substr(at, n));
    at += n;
  }
  const std::string parts = cut.finish();
  if (whole.has_overflowed() || cut.has_overflowed()) return 0;
  require(parts == expected, "the cut changes what is told", expected, parts);
  return 0;
}
