// PacketBuilder: the bytes of one packet for BPF_PROG_TEST_RUN tables. Checksums are left 0: programs do not look at
// them. Header only, tests only.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cstdint>
#include <string>
#include <vector>

namespace tapdeck::bpf_test {

enum TcpFlags : uint8_t { kFin = 1, kSyn = 2, kRst = 4, kAck = 16 };

class PacketBuilder {
 public:
  PacketBuilder& eth(uint16_t type) {
    bytes_.assign(12, 2);
    return be16(type);
  }
  PacketBuilder& vlan(uint16_t id, uint16_t type) { return be16(id).be16(type); }
  // `option_words`: 32-bit words of IPv4 options; `fragment`: flags and offset word.
  PacketBuilder& ip4(const std::string& from, const std::string& to, uint8_t protocol, uint8_t option_words = 0,
                     uint16_t fragment = 0) {
    byte(static_cast<uint8_t>(0x45 + option_words)).byte(0).be16(60).be16(1).be16(fragment).byte(64).byte(protocol);
    return be16(0).address(AF_INET, from, 4).address(AF_INET, to, 4).zeros(option_words * 4U);
  }
  PacketBuilder& ip6(const std::string& from, const std::string& to, uint8_t next) {
    byte(0x60).zeros(3).be16(40).byte(next).byte(64);
    return address(AF_INET6, from, 16).address(AF_INET6, to, 16);
  }
  // An 8-byte extension header.
  PacketBuilder& extension(uint8_t next) { return byte(next).zeros(7); }
  PacketBuilder& tcp(uint16_t from, uint16_t to, uint8_t flags) {
    return be16(from).be16(to).zeros(8).byte(0x50).byte(flags).zeros(6);
  }
  PacketBuilder& udp(uint16_t from, uint16_t to) { return be16(from).be16(to).be16(12).zeros(6); }
  PacketBuilder& icmp(uint8_t type) { return byte(type).zeros(7); }
  PacketBuilder& cut(size_t length) {
    bytes_.resize(length);
    return *this;
  }
  [[nodiscard]] const std::vector<uint8_t>& bytes() const { return bytes_; }

 private:
  PacketBuilder& byte(uint8_t value) {
    bytes_.push_back(value);
    return *this;
  }
  PacketBuilder& be16(uint16_t value) {
    return byte(static_cast<uint8_t>(value >> 8)).byte(static_cast<uint8_t>(value & 0xff));
  }
  PacketBuilder& zeros(size_t count) {
    bytes_.insert(bytes_.end(), count, 0);
    return *this;
  }
  PacketBuilder& address(int family, const std::string& text, size_t length) {
    uint8_t raw[16] = {};
    ::inet_pton(family, text.c_str(), raw);
    bytes_.insert(bytes_.end(), raw, raw + length);
    return *this;
  }
  std::vector<uint8_t> bytes_;
};

}  // namespace tapdeck::bpf_test
