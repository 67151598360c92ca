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
    stages_.push_back(std::move(stage));
    buffers_.push_back(std::make_unique_for_overwrite<char[]>(kBuffer));
  }
}

Result<void> Decoder::feed(std::string_view bytes, const Sink& sink) {
  input_ += bytes.size();
  return run(0, bytes, sink);
}

Result<void> Decoder::run(size_t stage, std::string_view bytes, const Sink& sink) {
  if (stage > 0) {
    // Asked of every stage's output: an inner bomb must not run in the hope that the next stage shrinks it.
    output_ += bytes.size();
    const bool dense = output_ > bounds_.free_output && output_ / bounds_.max_ratio > input_;
    if (output_ > bounds_.max_output || dense) return fail(Code::TooLarge, "the body decodes to far more than it is");
  }
  if (stage == stages_.size()) {
    if (!bytes.empty()) sink(bytes);
    return {};
  }
  const std::span<char> buffer(buffers_[stage].get(), kBuffer);
  while (true) {
    const size_t left = bytes.size();
    TRY(written, stages_[stage]->step(bytes, buffer));
    if (written == 0 && !bytes.empty() && bytes.size() == left) return fail(Code::Protocol, "the body stands still");
    if (written > 0) TRY_VOID(run(stage + 1, {buffer.data(), written}, sink));
    if (bytes.empty() && written < buffer.size()) return {};
  }
}

Result<void> Decoder::finish() const {
  for (const auto& stage : stages_) {
    if (!stage->is_whole()) return fail(Code::Truncated, "the coded body ends in the middle");
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
