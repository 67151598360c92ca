#include <brotli/decode.h>
#include <brotli/encode.h>

#include "daemon/coding/stages.h"

namespace tapdeck::coding {
namespace {

class BrotliDecode final : public Stage {
 public:
  BrotliDecode() : state_(BrotliDecoderCreateInstance(nullptr, nullptr, nullptr)) {}
  ~BrotliDecode() override { BrotliDecoderDestroyInstance(state_); }

  Result<size_t> step(std::string_view& in, std::span<char> out) override {
    if (state_ == nullptr) return fail(Code::Exhausted, "no memory to decode a brotli body");
    if (ended_) {
      if (!in.empty()) return fail(Code::Protocol, "bytes follow the end of a brotli body");
      return size_t{0};
    }
    size_t available_in = in.size();
    size_t available_out = out.size();
    auto* next_in = reinterpret_cast<const uint8_t*>(in.data());
    auto* next_out = reinterpret_cast<uint8_t*>(out.data());
    const auto result =
        BrotliDecoderDecompressStream(state_, &available_in, &next_in, &available_out, &next_out, nullptr);
    in.remove_prefix(in.size() - available_in);
    if (result == BROTLI_DECODER_RESULT_ERROR) return fail(Code::Protocol, "the body is not brotli");
    ended_ = result == BROTLI_DECODER_RESULT_SUCCESS;
    return out.size() - available_out;
  }
  bool is_whole() const override { return ended_; }

 private:
  BrotliDecoderState* state_;
  bool ended_ = false;
};

class BrotliEncode final : public Stage {
 public:
  BrotliEncode() : state_(BrotliEncoderCreateInstance(nullptr, nullptr, nullptr)) {
    // Quality 11 is for files made once; 5 is what servers use on the fly.
    if (state_ != nullptr) BrotliEncoderSetParameter(state_, BROTLI_PARAM_QUALITY, 5);
  }
  ~BrotliEncode() override { BrotliEncoderDestroyInstance(state_); }

  Result<size_t> step(std::string_view& in, std::span<char> out) override {
    return run(BROTLI_OPERATION_PROCESS, in, out);
  }
  bool is_whole() const override { return state_ != nullptr && BrotliEncoderIsFinished(state_) != BROTLI_FALSE; }
  Result<size_t> finish(std::span<char> out) override {
    if (is_whole()) return size_t{0};
    std::string_view nothing;
    return run(BROTLI_OPERATION_FINISH, nothing, out);
  }

 private:
  Result<size_t> run(BrotliEncoderOperation operation, std::string_view& in, std::span<char> out) {
    if (state_ == nullptr) return fail(Code::Exhausted, "no memory to encode a brotli body");
    size_t available_in = in.size();
    size_t available_out = out.size();
    auto* next_in = reinterpret_cast<const uint8_t*>(in.data());
    auto* next_out = reinterpret_cast<uint8_t*>(out.data());
    if (BrotliEncoderCompressStream(state_, operation, &available_in, &next_in, &available_out, &next_out, nullptr) ==
        BROTLI_FALSE) {
      return fail(Code::Exhausted, "no memory to encode a brotli body");
    }
    in.remove_prefix(in.size() - available_in);
    return out.size() - available_out;
  }
  BrotliEncoderState* state_;
};

}  // namespace

std::unique_ptr<Stage> make_brotli_decoder() {
  return std::make_unique<BrotliDecode>();
}
std::unique_ptr<Stage> make_brotli_encoder() {
  return std::make_unique<BrotliEncode>();
}

}  // namespace tapdeck::coding
