// Byte codec: the varints and length-prefixed strings that the record codec, rows and export files are made of.
//
// ByteReader never reads past its input: after the first malformed field `ok()` is false and every read gives zero or
// empty. Internal to store/. Thread: any.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace tapdeck::store {

class ByteWriter {
 public:
  explicit ByteWriter(std::string& out) : out_(out) {}
  void byte(uint8_t value) { out_.push_back(static_cast<char>(value)); }
  // LEB128, seven bits a byte, least significant first.
  void varint(uint64_t value) {
    if (value < 0x80) return byte(static_cast<uint8_t>(value));
    char buffer[10];
    size_t n = 0;
    while (value >= 0x80) {
      buffer[n++] = static_cast<char>(value | 0x80);
      value >>= 7;
    }
    buffer[n++] = static_cast<char>(value);
    out_.append(buffer, n);
  }
  void string(std::string_view value) {
    if (value.size() >= 0x80) {
      varint(value.size());
      out_.append(value);
      return;
    }
    // Nearly every string of a recording: its length and itself in one step. The size that libstdc++ 12 passes on may
    // be the grown capacity, so it is not the one to return.
    const size_t before = out_.size();
    const size_t after = before + 1 + value.size();
    out_.resize_and_overwrite(after, [before, after, value](char* bytes, size_t /*size*/) {
      bytes[before] = static_cast<char>(value.size());
      value.copy(bytes + before + 1, value.size());
      return after;
    });
  }
  template <size_t N>
  void bytes(const std::array<uint8_t, N>& value) {
    out_.append(reinterpret_cast<const char*>(value.data()), N);
  }
  // Big endian, so that row keys sort by number.
  void u32(uint32_t value) { big_endian(value); }
  void u64(uint64_t value) { big_endian(value); }

 private:
  template <class T>
  void big_endian(T value) {
    char buffer[sizeof(T)];
    for (size_t i = 0; i < sizeof(T); ++i) buffer[i] = static_cast<char>(value >> (8 * (sizeof(T) - 1 - i)));
    out_.append(buffer, sizeof(T));
  }
  std::string& out_;
};

class ByteReader {
 public:
  explicit ByteReader(std::string_view in) : in_(in) {}
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] size_t left() const { return in_.size(); }
  void fail() {
    ok_ = false;
    in_ = {};
  }
  uint8_t byte() {
    if (in_.empty()) return fail(), uint8_t{0};
    const auto value = static_cast<uint8_t>(in_.front());
    in_.remove_prefix(1);
    return value;
  }
  // Refuses more than ten bytes, overflow, and encodings longer than needed: one value has one encoding.
  uint64_t varint() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const uint8_t next = byte();
      if (!ok_) return 0;
      if (shift == 63 && next > 1) break;
      value |= static_cast<uint64_t>(next & 0x7f) << shift;
      if ((next & 0x80) == 0) {
        if (next == 0 && shift != 0) break;
        return value;
      }
    }
    return fail(), 0;
  }
  // A varint that must fit T.
  template <class T>
  T number() {
    const uint64_t value = varint();
    if (value > static_cast<uint64_t>(static_cast<T>(~T{0}))) return fail(), T{0};
    return static_cast<T>(value);
  }
  // A view into the input.
  std::string_view string() {
    const uint64_t size = varint();
    if (size > in_.size()) return fail(), std::string_view{};
    return take(static_cast<size_t>(size));
  }
  template <size_t N>
  std::array<uint8_t, N> bytes() {
    std::array<uint8_t, N> out{};
    if (in_.size() < N) return fail(), out;
    std::memcpy(out.data(), take(N).data(), N);
    return out;
  }
  uint32_t u32() { return big_endian<uint32_t>(); }
  uint64_t u64() { return big_endian<uint64_t>(); }
  // Everything that is left.
  std::string_view rest() { return take(in_.size()); }

 private:
  std::string_view take(size_t n) {
    const std::string_view out = in_.substr(0, n);
    in_.remove_prefix(n);
    return out;
  }
  template <class T>
  T big_endian() {
    if (in_.size() < sizeof(T)) return fail(), T{0};
    T value = 0;
    for (const char c : take(sizeof(T))) value = static_cast<T>(value << 8 | static_cast<uint8_t>(c));
    return value;
  }
  std::string_view in_;
  bool ok_ = true;
};

}  // namespace tapdeck::store
