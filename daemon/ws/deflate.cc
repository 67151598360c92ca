#include "daemon/ws/deflate.h"

#include <zlib.h>

#include <algorithm>
#include <array>

namespace tapdeck::ws {

namespace {

// The sender cuts these off the end of every message (RFC 7692 7.2.1).
constexpr std::string_view kTail("\x00\x00\xff\xff", 4);
constexpr int kLargestWindow = 15;
constexpr int kMemoryLevel = 8;  // zlib's own default: 128 KiB a stream
constexpr size_t kStep = 16384;

Bytef* bytes_of(std::string_view text) {
  return reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));  // zlib does not write through next_in
}

}  // namespace

// zlib fails to begin only without memory. There is no stream then, and every call says so.
Inflater::Inflater(Context context) : stream_(std::make_unique<z_stream>()), context_(context) {
  if (inflateInit2(stream_.get(), -kLargestWindow) != Z_OK) stream_.reset();
}

Inflater::~Inflater() {
  if (stream_ != nullptr) inflateEnd(stream_.get());
}

Checked<void> Inflater::feed(std::string_view bytes, std::string& out, size_t limit) {
  if (stream_ == nullptr) return violation(kInternal, "no memory to inflate");
  z_stream& stream = *stream_;
  stream.next_in = bytes_of(bytes);
  stream.avail_in = static_cast<uInt>(bytes.size());
  std::array<char, kStep> step;
  while (true) {
    if (ended_) {
      if (stream.avail_in == 0) return {};
      inflateReset(&stream);
      ended_ = false;
    }
    stream.next_out = reinterpret_cast<Bytef*>(step.data());
    stream.avail_out = static_cast<uInt>(step.size());
    const int status = inflate(&stream, Z_SYNC_FLUSH);
    const size_t made = step.size() - stream.avail_out;
    const size_t room = limit - std::min(limit, out.size());
    out.append(step.data(), std::min(made, room));
    if (made > room) {
      return violation(kTooBig, "a message inflates to more than " + std::to_string(limit) + " bytes");
    }
    ended_ = status == Z_STREAM_END;
    if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR) {
      return violation(kInvalidData, "a compressed message is not deflate");
    }
    // Room was left over: there is nothing more to come out of this input.
    if (!ended_ && stream.avail_in == 0 && stream.avail_out > 0) return {};
    if (status == Z_BUF_ERROR && made == 0) return {};
  }
}

Checked<void> Inflater::finish(std::string& out, size_t limit) {
  if (stream_ == nullptr) return violation(kInternal, "no memory to inflate");
  if (!ended_) {
    if (auto done = feed(kTail, out, limit); !done) return done;
  }
  if (context_ == Context::Dropped || ended_) inflateReset(stream_.get());
  ended_ = false;
  return {};
}

Deflater::Deflater(Context context, int window_bits) : stream_(std::make_unique<z_stream>()), context_(context) {
  if (deflateInit2(stream_.get(), Z_DEFAULT_COMPRESSION, Z_DEFLATED, -window_bits, kMemoryLevel, Z_DEFAULT_STRATEGY) !=
      Z_OK) {
    stream_.reset();
  }
}

Deflater::~Deflater() {
  if (stream_ != nullptr) deflateEnd(stream_.get());
}

std::optional<std::string> Deflater::message(std::string_view payload) {
  if (stream_ == nullptr) return std::nullopt;
  std::string out;
  z_stream& stream = *stream_;
  stream.next_in = bytes_of(payload);
  stream.avail_in = static_cast<uInt>(payload.size());
  std::array<char, kStep> step;
  do {
    stream.next_out = reinterpret_cast<Bytef*>(step.data());
    stream.avail_out = static_cast<uInt>(step.size());
    deflate(&stream, Z_SYNC_FLUSH);
    out.append(step.data(), step.size() - stream.avail_out);
  } while (stream.avail_out == 0);
  if (out.ends_with(kTail)) out.resize(out.size() - kTail.size());
  if (out.empty()) out.push_back('\0');  // an empty message is one empty block (7.2.3.6)
  if (context_ == Context::Dropped) deflateReset(&stream);
  return out;
}

}  // namespace tapdeck::ws
