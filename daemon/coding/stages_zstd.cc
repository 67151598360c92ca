#include <zstd.h>

#include "daemon/coding/stages.h"

namespace tapdeck::coding {
namespace {

// RFC 9659: a "zstd" content coding must not need a window above 8 MiB.
constexpr int kWindowLog = 23;

class ZstdDecode final : public Stage {
 public:
  ZstdDecode() : stream_(ZSTD_createDStream()) {
    if (stream_ != nullptr) ZSTD_DCtx_setParameter(stream_, ZSTD_d_windowLogMax, kWindowLog);
  }
  ~ZstdDecode() override { ZSTD_freeDStream(stream_); }

  Result<size_t> step(std::string_view& in, std::span<char> out) override {
    if (stream_ == nullptr) return fail(Code::Exhausted, "no memory to decode a zstd body");
    if (in.empty() && whole_) return size_t{0};
    ZSTD_inBuffer input{in.data(), in.size(), 0};
    ZSTD_outBuffer output{out.data(), out.size(), 0};
    const size_t left = ZSTD_decompressStream(stream_, &output, &input);
    in.remove_prefix(input.pos);
    if (ZSTD_isError(left) != 0) return fail(Code::Protocol, "the body is not zstd, or wants too large a window");
    // 0: a frame ended and is flushed; another may follow (RFC 8878 3.1).
    whole_ = left == 0;
    return output.pos;
  }
  bool is_whole() const override { return whole_; }

 private:
  ZSTD_DStream* stream_;
  bool whole_ = false;
};

class ZstdEncode final : public Stage {
 public:
  ZstdEncode() : stream_(ZSTD_createCStream()) {
    if (stream_ != nullptr) ZSTD_CCtx_setParameter(stream_, ZSTD_c_checksumFlag, 1);
  }
  ~ZstdEncode() override { ZSTD_freeCStream(stream_); }

  Result<size_t> step(std::string_view& in, std::span<char> out) override { return run(ZSTD_e_continue, in, out); }
  bool is_whole() const override { return whole_; }
  Result<size_t> finish(std::span<char> out) override {
    if (whole_) return size_t{0};
    std::string_view nothing;
    return run(ZSTD_e_end, nothing, out);
  }

 private:
  Result<size_t> run(ZSTD_EndDirective directive, std::string_view& in, std::span<char> out) {
    if (stream_ == nullptr) return fail(Code::Exhausted, "no memory to encode a zstd body");
    ZSTD_inBuffer input{in.data(), in.size(), 0};
    ZSTD_outBuffer output{out.data(), out.size(), 0};
    const size_t left = ZSTD_compressStream2(stream_, &output, &input, directive);
    if (ZSTD_isError(left) != 0) return fail(Code::Exhausted, "no memory to encode a zstd body");
    in.remove_prefix(input.pos);
    whole_ = directive == ZSTD_e_end && left == 0;
    return output.pos;
  }
  ZSTD_CStream* stream_;
  bool whole_ = false;
};

}  // namespace

std::unique_ptr<Stage> make_zstd_decoder() {
  return std::make_unique<ZstdDecode>();
}
std::unique_ptr<Stage> make_zstd_encoder() {
  return std::make_unique<ZstdEncode>();
}

}  // namespace tapdeck::coding
