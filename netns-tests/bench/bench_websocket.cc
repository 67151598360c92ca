// WebSocket messages there and back: an echo origin, and a client that keeps a number of them on the way. As little of
// RFC 6455 as the two need for each other: binary messages of one frame, below 64 KiB, and Close.
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <sys/socket.h>

#include <array>
#include <cctype>
#include <chrono>
#include <iostream>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "netns-tests/bench/bench_probe.h"

namespace tapdeck::bench {
namespace {

constexpr unsigned char kBinary = 0x82, kClose = 0x88;  // with FIN
constexpr unsigned char kMasked = 0x80, kLong = 126;
constexpr std::array<unsigned char, 4> kMask = {0x37, 0xfa, 0x21, 0x3d};
constexpr size_t kNumber = 8;   // a message begins with its number, so that no echo is taken for another
constexpr char kEchoed = 0x55;  // XORed to what is behind it in an echo

struct Frame {
  unsigned char first = 0;  // FIN and opcode
  size_t head = 0, size = 0;
};

// The frame that `bytes` begin with, once it is there whole.
std::optional<Frame> frame_in(std::string_view bytes) {
  if (bytes.size() < 2) return std::nullopt;
  const auto at = [&](size_t index) { return static_cast<unsigned char>(bytes[index]); };
  Frame frame{.first = at(0), .head = 2, .size = at(1) & 0x7FU};
  if (frame.size == kLong) {
    if (bytes.size() < 4) return std::nullopt;
    frame.size = static_cast<size_t>(at(2)) << 8 | at(3);
    frame.head = 4;
  }
  if ((at(1) & kMasked) != 0) frame.head += kMask.size();
  if (bytes.size() < frame.head + frame.size) return std::nullopt;
  return frame;
}

std::string head_of(unsigned char first, size_t size, unsigned char mask_bit) {
  std::string head(1, static_cast<char>(first));
  if (size < kLong) return head + static_cast<char>(mask_bit | size);
  head += static_cast<char>(mask_bit | kLong);
  head += static_cast<char>(size >> 8);
  return head + static_cast<char>(size & 0xFF);
}

void mask(char* bytes, size_t size, const char* key) {
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(bytes[i] ^ key[i % 4]);
}

// Appends what there is to read; false at the end of the stream.
bool read_more(int fd, std::string& bytes) {
  std::array<char, 64 << 10> buffer;
  const auto got = ::recv(fd, buffer.data(), buffer.size(), 0);
  if (got <= 0) return false;
  bytes.append(buffer.data(), static_cast<size_t>(got));
  return true;
}

// An HTTP head with its empty line, taken out of `bytes`; empty when the peer left.
std::string read_head(int fd, std::string& bytes) {
  size_t end = 0;
  while ((end = bytes.find("\r\n\r\n")) == std::string::npos) {
    if (!read_more(fd, bytes)) return {};
  }
  const auto head = bytes.substr(0, end + 4);
  bytes.erase(0, end + 4);
  return head;
}

// RFC 6455 4.2.2; empty when the head has no key. Names of headers are compared in lower case, since proxies change it.
std::string accept_for(const std::string& head) {
  constexpr std::string_view kName = "sec-websocket-key: ";
  std::string lower = head;
  for (auto& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  const auto begin = lower.find(kName);
  if (begin == std::string::npos) return {};
  const auto from = begin + kName.size();
  const auto key = head.substr(from, head.find('\r', from) - from) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  std::array<unsigned char, SHA_DIGEST_LENGTH> digest;
  SHA1(reinterpret_cast<const unsigned char*>(key.data()), key.size(), digest.data());
  std::array<unsigned char, 32> text{};
  const int size = EVP_EncodeBlock(text.data(), digest.data(), digest.size());
  return {reinterpret_cast<const char*>(text.data()), static_cast<size_t>(size)};
}

// The echoes of all whole frames, taken out of `received`; behind its number a binary one has other bits, so that
// nothing of the two directions is stored once for both; sets `closed` at a Close, which is echoed too.
std::string echoes(std::string& received, bool& closed) {
  std::string answers;
  size_t at = 0;
  while (const auto frame = frame_in(std::string_view(received).substr(at))) {
    const auto payload = at + frame->head;
    mask(received.data() + payload, frame->size, received.data() + payload - kMask.size());
    answers += head_of(frame->first, frame->size, 0);
    answers.append(received, payload, frame->size);
    if (frame->first == kBinary && frame->size > kNumber) {
      for (size_t i = answers.size() - frame->size + kNumber; i < answers.size(); ++i) answers[i] ^= kEchoed;
    }
    at = payload + frame->size;
    closed = closed || frame->first == kClose;
  }
  received.erase(0, at);
  return answers;
}

class Talker {
 public:
  // `seed` says what its messages are.
  Talker(const Address& address, size_t size, unsigned seed)
      : fd_(connect_to(address)), size_(size), payload_(size, 0) {
    std::mt19937 random(seed);
    for (char& byte : payload_) byte = static_cast<char>(random());
    const std::string request =
        "GET /echo HTTP/1.1\r\nHost: websocket.bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    send_all(fd_.get(), request.data(), request.size());
    const auto head = read_head(fd_.get(), received_);
    if (!head.starts_with("HTTP/1.1 101")) die("upgrade answered " + head.substr(0, head.find('\r')));
    payload_.replace(0, kNumber, kNumber, '0');
    frame_ = head_of(kBinary, size, kMasked) + text(kMask) + payload_;
    body_ = frame_.size() - size;
    mask(frame_.data() + body_, size, frame_.data() + body_ - kMask.size());
  }

  void talk(int count, int depth) {
    int sent = 0, seen = 0;
    while (seen < count) {
      std::string frames;
      while (sent < count && sent - seen < depth) frames += numbered(sent++);
      send_all(fd_.get(), frames.data(), frames.size());
      if (!read_more(fd_.get(), received_)) die("the echoes ended after " + std::to_string(seen));
      size_t at = 0;
      while (const auto frame = frame_in(std::string_view(received_).substr(at))) {
        expect_echo(*frame, received_.substr(at + frame->head, kNumber), seen++);
        at += frame->head + frame->size;
      }
      received_.erase(0, at);
    }
  }

  // Close both ways, then the end of the stream.
  void leave() {
    std::string close = head_of(kClose, 2, kMasked) + text(kMask) + "\x03\xe8";
    mask(close.data() + close.size() - 2, 2, close.data() + 2);
    send_all(fd_.get(), close.data(), close.size());
    while (!frame_in(received_)) {
      if (!read_more(fd_.get(), received_)) die("no Close came back");
    }
    if (static_cast<unsigned char>(received_[0]) != kClose) die("something else than a Close came back");
  }

 private:
  static std::string text(const std::array<unsigned char, 4>& key) {
    return {reinterpret_cast<const char*>(key.data()), key.size()};
  }
  static std::string digits(int number) {
    auto shown = std::to_string(number);
    return std::string(kNumber - shown.size(), '0') + shown;
  }
  const std::string& numbered(int number) {
    frame_.replace(body_, kNumber, digits(number));
    mask(frame_.data() + body_, kNumber, frame_.data() + body_ - kMask.size());
    return frame_;
  }
  void expect_echo(const Frame& frame, const std::string& number, int wanted) const {
    if (frame.first == kBinary && frame.size == size_ && number == digits(wanted)) return;
    die("message " + digits(wanted) + " came back as opcode " + std::to_string(frame.first & 0xF) + " of " +
        std::to_string(frame.size) + " bytes, " + number);
  }

  UniqueFd fd_;
  size_t size_;
  std::string payload_, received_, frame_;
  size_t body_ = 0;  // where the payload begins in frame_
};

}  // namespace

void serve_websocket(int fd) {
  std::string received;
  const auto accept = accept_for(read_head(fd, received));
  if (accept.empty()) return;
  const std::string answer =
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
      accept + "\r\n\r\n";
  if (!send_or_leave(fd, answer.data(), answer.size())) return;
  bool closed = false;
  while (!closed && read_more(fd, received)) {
    const auto answers = echoes(received, closed);
    if (!send_or_leave(fd, answers.data(), answers.size())) return;
  }
}

int websocket(const Address& address, int peers, int count, size_t size, int depth, int seed) {
  using Clock = std::chrono::steady_clock;
  if (size < kNumber || size > 0xFFFF) die("a size from 8 to 65535");
  std::vector<Talker> talkers;
  for (int i = 0; i < peers; ++i) talkers.emplace_back(address, size, static_cast<unsigned>(seed * peers + i));
  std::vector<std::thread> threads;
  const auto begin = Clock::now();
  for (auto& talker : talkers) threads.emplace_back([&talker, count, depth] { talker.talk(count, depth); });
  for (auto& thread : threads) thread.join();
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  for (auto& talker : talkers) talker.leave();
  const int messages = peers * count;
  std::cout << "{\"messages\":" << messages << ",\"per_s\":" << messages / seconds << "}" << std::endl;
  return 0;
}

}  // namespace tapdeck::bench
