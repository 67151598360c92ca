#include "daemon/coding/decoder.h"

#include <utility>

#include "daemon/coding/stages.h"

namespace tapdeck::coding {
namespace {

constexpr size_t kBuffer = 16 * 1024;

std::unique_ptr<Stage> decoder_of(Coding coding) {
  switch (coding) {
    case Coding::Identity:
      return nullptr;
    case Coding::Gzip:
    case Coding::Deflate:
      return make_inflate(coding);
    case Coding::Brotli:
      return make_brotli_decoder();
    case Coding::Zstd:
      return make_zstd_decoder();
  }
  return nullptr;
}

std::unique_ptr<Stage> encoder_of(Coding coding) {
  switch (coding) {
    case Coding::Identity:
      return nullptr;
    case Coding::Gzip:
    case Coding::Deflate:
      return make_deflate(coding);
    case Coding::Brotli:
      return make_brotli_encoder();
    case Coding::Zstd:
      return make_zstd_encoder();
  }
  return nullptr;
}

}  // namespace

Decoder::Decoder(std::span<const Coding> codings, const Bounds& bounds) : bounds_(bounds) {
  for (size_t i = codings.size(); i-- > 0;) {
    auto stage = decoder_of(codings[i]);
    if (stage == nullptr) continue;
    links_.push_back({std::move(stage), std::make_unique_for_overwrite<char[]>(kBuffer), {}, false});
  }
}

Result<void> Decoder::feed(std::string_view bytes, const Sink& sink) {
  input_ += bytes.size();
  if (links_.empty()) {
    if (!bytes.empty()) sink(bytes);
    return {};
  }
  const std::span<char> buffer(links_.back().buffer.get(), kBuffer);
  while (true) {
    TRY(written, pull(links_.size() - 1, bytes, buffer));
    if (written == 0) return {};
    sink({buffer.data(), written});
  }
}

Result<size_t> Decoder::read(std::string_view& bytes, std::span<char> out) {
  const size_t before = bytes.size();
  size_t written = 0;
  if (links_.empty()) {
    written = bytes.copy(out.data(), out.size());
    bytes.remove_prefix(written);
  } else {
    TRY(pulled, pull(links_.size() - 1, bytes, out));
    written = pulled;
  }
  input_ += before - bytes.size();
  return written;
}

Result<size_t> Decoder::pull(size_t link, std::string_view& bytes, std::span<char> out) {
  Link& here = links_[link];
  std::string_view& source = link == 0 ? bytes : links_[link - 1].unread;
  while (true) {
    while (!source.empty() || here.may_hold) {
      const size_t left = source.size();
      TRY(written, here.stage->step(source, out));
      here.may_hold = written == out.size();
      if (written == 0 && !source.empty() && source.size() == left) {
        return fail(Code::Protocol, "the body stands still");
      }
      if (written == 0) continue;
      TRY_VOID(count(written));
      return written;
    }
    if (link == 0) return size_t{0};
    char* const buffer = links_[link - 1].buffer.get();
    TRY(filled, pull(link - 1, bytes, {buffer, kBuffer}));
    if (filled == 0) return size_t{0};
    source = {buffer, filled};
  }
}

// Asked of every stage's output: an inner bomb must not run in the hope that the next stage shrinks it.
Result<void> Decoder::count(size_t written) {
  output_ += written;
  const bool dense = output_ > bounds_.free_output && output_ / bounds_.max_ratio > input_;
  if (output_ > bounds_.max_output || dense) return fail(Code::TooLarge, "the body decodes to far more than it is");
  return {};
}

Result<void> Decoder::finish() const {
  for (const Link& link : links_) {
    if (!link.stage->is_whole()) return fail(Code::Truncated, "the coded body ends in the middle");
  }
  return {};
}

Result<std::string> decode(std::span<const Coding> codings, std::string_view bytes, const Bounds& bounds) {
  std::string out;
  Decoder decoder(codings, bounds);
  TRY_VOID(decoder.feed(bytes, [&out](std::string_view piece) { out += piece; }));
  TRY_VOID(decoder.finish());
  return out;
}

Encoder::Encoder(Coding coding) : stage_(encoder_of(coding)) {}

Result<void> Encoder::feed(std::string_view bytes, std::string& out) {
  if (stage_ == nullptr) {
    out += bytes;
    return {};
  }
  char buffer[kBuffer];
  while (!bytes.empty()) {
    TRY(written, stage_->step(bytes, buffer));
    out.append(buffer, written);
  }
  return {};
}

Result<void> Encoder::finish(std::string& out) {
  if (stage_ == nullptr) return {};
  char buffer[kBuffer];
  while (true) {
    TRY(written, stage_->finish(buffer));
    if (written == 0) return {};
    out.append(buffer, written);
  }
}

}  // namespace tapdeck::coding
