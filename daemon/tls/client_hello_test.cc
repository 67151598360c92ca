#include "daemon/tls/client_hello.h"

#include <gtest/gtest.h>

#include "daemon/tls/test_support.h"

namespace tapdeck::tls {
namespace {

using namespace std::string_view_literals;
using testing::World;
using Verdict = Peek::Verdict;

std::string u16(size_t value) {
  return {static_cast<char>(value >> 8 & 0xff), static_cast<char>(value & 0xff)};
}

std::string extension(size_t type, const std::string& body) {
  return u16(type) + u16(body.size()) + body;
}

std::string sni(const std::string& name) {
  return extension(0, u16(name.size() + 3) + std::string(1, '\0') + u16(name.size()) + name);
}

std::string message(const std::string& extensions) {
  const std::string body = u16(0x0303) + std::string(32, 'r') + std::string(1, '\0') + u16(2) + u16(0x1301) +
                           std::string("\x01\x00", 2) + u16(extensions.size()) + extensions;
  return std::string("\x01\x00", 2) + u16(body.size()) + body;
}

std::string records(const std::string& bytes, size_t size) {
  std::string out;
  for (size_t at = 0; at < bytes.size(); at += size) {
    const std::string piece = bytes.substr(at, size);
    out += "\x16\x03\x01" + u16(piece.size()) + piece;
  }
  return out;
}

Peek peek(const std::string& extensions) {
  return peek_client_hello(records(message(extensions), 16384));
}

TEST(ClientHelloPeek, ReadsWhatOpensslSends) {
  World world;
  auto client = world.connect("api.test");
  ByteQueue plain;
  ASSERT_TRUE(client->advance(plain));
  const Peek result = peek_client_hello(client->cipher_out().to_string());
  ASSERT_EQ(result.verdict, Verdict::Hello) << result.reason;
  EXPECT_EQ(result.hello.sni, "api.test");
  EXPECT_EQ(result.hello.alpn, (std::vector<std::string>{"h2", "http/1.1"}));
  EXPECT_EQ(result.hello.max_version, 0x0304);
  EXPECT_FALSE(result.hello.offers_ech);
}

TEST(ClientHelloPeek, NeedsMoreAtEveryPrefixHoweverTheRecordsAreSplit) {
  const std::string bytes = message(sni("api.test"));
  for (const size_t size : {1UL, 2UL, 3UL, 5UL, 40UL, 16384UL}) {
    const std::string stream = records(bytes, size);
    for (size_t n = 0; n < stream.size(); ++n) {
      ASSERT_EQ(peek_client_hello(stream.substr(0, n)).verdict, Verdict::NeedMore) << size << " " << n;
    }
    EXPECT_EQ(peek_client_hello(stream).hello.sni, "api.test");
    EXPECT_EQ(peek_client_hello(stream + "more").hello.sni, "api.test");
  }
}

TEST(ClientHelloPeek, SaysNotTlsAtTheFirstByteThatCannotBe) {
  for (const std::string_view bytes :
       {"G"sv, "\x15"sv, "\x80"sv, "\x16\x02"sv, "\x16\x03\x09"sv, "\x16\x03\x01\x00\x40\x02"sv, "\x00"sv}) {
    EXPECT_EQ(peek_client_hello(bytes).verdict, Verdict::NotTls);
    EXPECT_NE(peek_client_hello(bytes.substr(0, bytes.size() - 1)).verdict, Verdict::NotTls);
  }
}

TEST(ClientHelloPeek, LowersTheNameAndDropsTheFinalDot) {
  EXPECT_EQ(peek(sni("API.Test.")).hello.sni, "api.test");
}

TEST(ClientHelloPeek, TakesAddressesWhichSomeClientsSendAsNames) {
  EXPECT_EQ(peek(sni("192.0.2.1")).hello.sni, "192.0.2.1");
  EXPECT_EQ(peek(sni("fd81::2")).hello.sni, "fd81::2");
  EXPECT_EQ(peek(sni("[FD81::2]")).hello.sni, "fd81::2");
  EXPECT_EQ(peek(sni("::ffff:192.0.2.1")).hello.sni, "::ffff:192.0.2.1");
}

TEST(ClientHelloPeek, RefusesNamesThatWouldLieInALogOrACertificate) {
  const std::string long_label = std::string(64, 'a') + ".test";
  for (const std::string& name :
       {std::string("a b"), std::string("a\nb"), std::string("\xc3\xa9"), std::string("a/b"), std::string("*"),
        std::string("*.a.test"), std::string("a..b"), std::string("."), std::string(":"), std::string("fd81::2%eth0"),
        std::string("[a.test]"), std::string("[192.0.2.1]"), std::string("[]"), std::string("["),
        std::string("fd81::2]"), std::string("[fd81::2]:443"), std::string(), long_label, std::string(254, 'a')}) {
    const Peek result = peek(sni(name) + extension(16, u16(3) + "\x02h2"));
    EXPECT_EQ(result.verdict, Verdict::Hello) << name;
    EXPECT_EQ(result.hello.sni, "") << name;
    EXPECT_EQ(result.hello.alpn, std::vector<std::string>{"h2"}) << name;
  }
}

TEST(ClientHelloPeek, NamesThatNoHandshakeTakesAreMalformed) {
  for (const std::string& name : {std::string("a\0b", 3), std::string(256, 'a')}) {
    const Peek result = peek(sni(name));
    EXPECT_EQ(result.verdict, Verdict::Malformed);
    EXPECT_EQ(result.reason, "bad server_name extension");
  }
  const auto entry = [](const std::string& name) { return std::string(1, '\0') + u16(name.size()) + name; };
  for (const char* first : {"a.test", "*"}) {
    const std::string list = entry(first) + entry("b.test");
    EXPECT_EQ(peek(extension(0, u16(list.size()) + list)).reason, "bad server_name extension") << "two of a type";
  }
}

TEST(ClientHelloPeek, TakesTheHighestVersionThatIsNotGrease) {
  EXPECT_EQ(peek(extension(43, "\x06\x7a\x7a\x03\x04\x03\x03")).hello.max_version, 0x0304);
  EXPECT_EQ(peek(extension(43, "\x02\x03\x03")).hello.max_version, 0x0303);
  EXPECT_EQ(peek("").hello.max_version, 0x0303);
}

TEST(ClientHelloPeek, SeesEch) {
  EXPECT_TRUE(peek(sni("cover.test") + extension(0xfe0d, "x")).hello.offers_ech);
}

TEST(ClientHelloPeek, ContradictionsAreMalformedWithAReason) {
  EXPECT_EQ(peek(sni("a.test") + sni("b.test")).reason, "repeated extension");
  EXPECT_EQ(peek(u16(0) + u16(900) + "x").reason, "short extension");
  EXPECT_EQ(peek(extension(16, u16(3) + "\x05h2")).reason, "bad ALPN extension");
  EXPECT_EQ(peek(extension(16, u16(1) + std::string(1, '\0'))).reason, "bad ALPN extension");
  EXPECT_EQ(peek(extension(43, "\x03\x03\x04\x03")).reason, "bad supported_versions extension");
  EXPECT_EQ(peek_client_hello("\x16\x03\x01\x00\x00"sv).reason, "empty handshake record");
  EXPECT_EQ(peek_client_hello("\x16\x03\x01\x40\x01"sv).reason, "record longer than 16 KiB");
  EXPECT_EQ(peek_client_hello("\x16\x03\x01\x00\x04\x01\x01\x00\x01"sv).reason, "ClientHello longer than 64 KiB");
  EXPECT_EQ(peek_client_hello(records(message(""), 10).substr(0, 15) + "\x15\x03\x03\x00\x02\x02\x28").reason,
            "another record inside the ClientHello");
}

TEST(ClientHelloPeek, AHelloMayBeLong) {
  const std::string ticket = extension(41, std::string(50000, 't'));
  const Peek result = peek(sni("api.test") + ticket);
  EXPECT_EQ(result.verdict, Verdict::Hello) << result.reason;
  EXPECT_EQ(result.hello.sni, "api.test");
}

// The handshake behind it takes one too.
TEST(ClientHelloPeek, ANameOfNoLengthIsNone) {
  World world;
  auto client = world.connect("api.test");
  ByteQueue plain;
  ASSERT_TRUE(client->advance(plain));
  std::string hello = client->cipher_out().to_string();
  const size_t at = hello.find("api.test");
  ASSERT_NE(at, std::string::npos);
  // Three lengths before the name say how long it is, three more what it is part of.
  const auto shorten = [&hello](size_t where) { hello[where + 1] = static_cast<char>(hello[where + 1] - 8); };
  for (const size_t back : {2UL, 5UL, 7UL}) shorten(at - back);
  hello.erase(at, 8);
  const auto less = [&hello](size_t where) {
    const size_t size = static_cast<uint8_t>(hello[where]) * 256U + static_cast<uint8_t>(hello[where + 1]) - 8;
    hello.replace(where, 2, u16(size));
  };
  const size_t extensions = 5 + 4 + 2 + 32 + 1 + 32;
  const size_t ciphers = static_cast<uint8_t>(hello[extensions]) * 256U + static_cast<uint8_t>(hello[extensions + 1]);
  for (const size_t where : {3UL, 7UL, extensions + 2 + ciphers + 2}) less(where);
  const Peek result = peek_client_hello(hello);
  EXPECT_EQ(result.verdict, Verdict::Hello) << result.reason;
  EXPECT_EQ(result.hello.sni, "");
  auto server = world.accept(leaf_for("192.0.2.1"), "");
  server->cipher_in().append(hello);
  EXPECT_TRUE(server->advance(plain)) << server->failure()->detail;
  EXPECT_TRUE(server->awaits_judgement());
}

TEST(ClientHelloPeek, AHelloWithoutExtensionsIsOne) {
  const std::string body =
      u16(0x0301) + std::string(32, 'r') + std::string(1, '\0') + u16(2) + u16(0x002f) + std::string("\x01\x00", 2);
  const Peek result = peek_client_hello(records(std::string("\x01\x00", 2) + u16(body.size()) + body, 100));
  EXPECT_EQ(result.verdict, Verdict::Hello);
  EXPECT_EQ(result.hello.max_version, 0x0301);
}

}  // namespace
}  // namespace tapdeck::tls
