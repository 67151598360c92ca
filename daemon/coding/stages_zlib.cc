#include <zlib.h>

#include <optional>

#include "daemon/coding/stages.h"

namespace tapdeck::coding {
namespace {

constexpr int kGzipBits = 15 + 16;
constexpr int kZlibBits = 15;
constexpr int kRawBits = -15;

std::unexpected<Error> malformed() {
  return fail(Code::Protocol, "the body is not what its content coding says");
}

// Points zlib at the buffers of one step.
void aim(z_stream& z, std::string_view in, std::span<char> out) {
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));
  z.avail_in = static_cast<uInt>(in.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
}

// zlib counts in 32 bits.
std::string_view portion(std::string_view in) {
  return in.substr(0, 1U << 30);
}

class Inflate final : public Stage {
 public:
  explicit Inflate(Coding coding) : coding_(coding) {}
  ~Inflate() override {
    if (ready_) inflateEnd(&z_);
  }

  Result<size_t> step(std::string_view& in, std::span<char> out) override {
    if (!ready_) {
      if (in.empty()) return size_t{0};
      TRY_VOID(prepare(in));
      if (!ready_) return size_t{0};
    }
    if (held_) {
      // The first byte of a deflate body came alone, and two are needed to tell zlib from raw.
      const char first = *held_;
      held_.reset();
      std::string_view one(&first, 1);
      TRY(written, inflate_some(one, out));
      if (written > 0) return written;
    }
    return inflate_some(in, out);
  }
  bool is_whole() const override { return ended_; }

 private:
  Result<void> prepare(std::string_view& in) {
    int bits = kGzipBits;
    if (coding_ == Coding::Deflate) {
      if (!held_ && in.size() < 2) {
        held_ = in.front();
        in.remove_prefix(1);
        return {};
      }
      const auto first = static_cast<unsigned char>(held_ ? *held_ : in[0]);
      const auto second = static_cast<unsigned char>(held_ ? in[0] : in[1]);
      const bool is_zlib = (first & 0x0f) == 8 && (first * 256U + second) % 31 == 0;  // RFC 1950 2.2
      bits = is_zlib ? kZlibBits : kRawBits;
    }
    if (inflateInit2(&z_, bits) != Z_OK) return fail(Code::Exhausted, "no memory to inflate a body");
    ready_ = true;
    return {};
  }

  Result<size_t> inflate_some(std::string_view& in, std::span<char> out) {
    if (in.empty()) return drain(out);
    if (ended_) {
      // RFC 1952 2.2: a gzip body may have several members. Nothing may follow the others.
      if (coding_ != Coding::Gzip || inflateReset(&z_) != Z_OK) return malformed();
      ended_ = false;
    }
    const std::string_view now = portion(in);
    aim(z_, now, out);
    const int code = inflate(&z_, Z_NO_FLUSH);
    in.remove_prefix(now.size() - z_.avail_in);
    return judge(code, out);
  }

  // Output that waited for room.
  Result<size_t> drain(std::span<char> out) {
    if (ended_) return size_t{0};
    aim(z_, {}, out);
    return judge(inflate(&z_, Z_NO_FLUSH), out);
  }

  Result<size_t> judge(int code, std::span<char> out) {
    if (code == Z_MEM_ERROR) return fail(Code::Exhausted, "no memory to inflate a body");
    if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR) return malformed();
    ended_ = code == Z_STREAM_END;
    return out.size() - z_.avail_out;
  }

  Coding coding_;
  z_stream z_{};
  std::optional<char> held_;
  bool ready_ = false;
  bool ended_ = false;
};

class Deflate final : public Stage {
 public:
  explicit Deflate(Coding coding) {
    const int bits = coding == Coding::Gzip ? kGzipBits : kZlibBits;
    ready_ = deflateInit2(&z_, Z_DEFAULT_COMPRESSION, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY) == Z_OK;
  }
  ~Deflate() override {
    if (ready_) deflateEnd(&z_);
  }

  Result<size_t> step(std::string_view& in, std::span<char> out) override {
    if (!ready_) return fail(Code::Exhausted, "no memory to deflate a body");
    const std::string_view now = portion(in);
    aim(z_, now, out);
    if (deflate(&z_, Z_NO_FLUSH) == Z_STREAM_ERROR) return fail(Code::Internal, "deflate");
    in.remove_prefix(now.size() - z_.avail_in);
    return out.size() - z_.avail_out;
  }
  bool is_whole() const override { return ended_; }
  Result<size_t> finish(std::span<char> out) override {
    if (!ready_) return fail(Code::Exhausted, "no memory to deflate a body");
    if (ended_) return size_t{0};
    aim(z_, {}, out);
    const int code = deflate(&z_, Z_FINISH);
    if (code == Z_STREAM_ERROR) return fail(Code::Internal, "deflate");
    ended_ = code == Z_STREAM_END;
    return out.size() - z_.avail_out;
  }

 private:
  z_stream z_{};
  bool ready_ = false;
  bool ended_ = false;
};

}  // namespace

std::unique_ptr<Stage> make_inflate(Coding coding) {
  return std::make_unique<Inflate>(coding);
}
std::unique_ptr<Stage> make_deflate(Coding coding) {
  return std::make_unique<Deflate>(coding);
}

}  // namespace tapdeck::coding
