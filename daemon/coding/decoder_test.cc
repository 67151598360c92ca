#include "daemon/coding/decoder.h"

#include <gmock/gmock.h>
#include <malloc.h>

#include <vector>

namespace tapdeck::coding {
namespace {

std::string encode(Coding coding, std::string_view bytes) {
  Encoder encoder(coding);
  std::string out;
  EXPECT_TRUE(encoder.feed(bytes, out));
  EXPECT_TRUE(encoder.finish(out));
  return out;
}

std::string text_of(size_t bytes) {
  std::string text;
  for (unsigned i = 0; text.size() < bytes; ++i) text += "line " + std::to_string(i * 2654435761U) + "\n";
  text.resize(bytes);
  return text;
}

class EveryCoding : public testing::TestWithParam<Coding> {};
INSTANTIATE_TEST_SUITE_P(Codings, EveryCoding, testing::ValuesIn(kCodings),
                         [](const auto& tested) { return std::string(to_string(tested.param)); });

TEST_P(EveryCoding, GivesBackWhatWasEncoded) {
  const Coding codings[] = {GetParam()};
  for (const size_t size : {size_t{0}, size_t{1}, size_t{700}, size_t{300'000}}) {
    const std::string text = text_of(size);
    const auto decoded = decode(codings, encode(GetParam(), text));
    ASSERT_TRUE(decoded) << size << ' ' << decoded.error().detail;
    EXPECT_EQ(*decoded, text);
  }
}

TEST_P(EveryCoding, DecodesTheSameHoweverTheBytesAreSplit) {
  const Coding codings[] = {GetParam()};
  const std::string text = text_of(900);
  const std::string coded = encode(GetParam(), text);
  for (size_t cut = 0; cut <= coded.size(); ++cut) {
    std::string out;
    const Sink sink = [&out](std::string_view piece) { out += piece; };
    Decoder decoder(codings, {});
    ASSERT_TRUE(decoder.feed(std::string_view(coded).substr(0, cut), sink)) << cut;
    EXPECT_EQ(decoder.finish().has_value(), cut == coded.size()) << cut;
    ASSERT_TRUE(decoder.feed(std::string_view(coded).substr(cut), sink)) << cut;
    ASSERT_TRUE(decoder.finish()) << cut;
    ASSERT_EQ(out, text) << cut;
  }
  std::string out;
  Decoder bytewise(codings, {});
  for (const char& byte : coded) {
    ASSERT_TRUE(bytewise.feed({&byte, 1}, [&out](std::string_view piece) { out += piece; }));
  }
  EXPECT_TRUE(bytewise.finish());
  EXPECT_EQ(out, text);
}

TEST_P(EveryCoding, IsReadAtTheCallersPace) {
  const std::string text = text_of(70'000);
  for (const std::vector<Coding>& codings : {std::vector{GetParam()}, std::vector{GetParam(), Coding::Gzip}}) {
    std::string coded = text;
    for (const Coding coding : codings) coded = encode(coding, coded);
    for (const size_t at_a_time : {size_t{1}, coded.size()}) {
      Decoder decoder(codings, {});
      std::string out;
      char buffer[7];
      for (std::string_view rest = coded; !rest.empty();) {
        std::string_view bytes = rest.substr(0, at_a_time);
        rest.remove_prefix(bytes.size());
        for (size_t written = 1; written > 0;) {
          const auto read = decoder.read(bytes, buffer);
          ASSERT_TRUE(read) << read.error().detail;
          written = *read;
          out.append(buffer, written);
        }
        ASSERT_TRUE(bytes.empty());
      }
      EXPECT_TRUE(decoder.finish());
      EXPECT_TRUE(out == text);
    }
  }
}

TEST_P(EveryCoding, SaysSoWhenTheBytesAreSomethingElse) {
  const Coding codings[] = {GetParam()};
  EXPECT_FALSE(decode(codings, "\x1b\x1b\xff\xff this was never compressed by anything at all"));
  std::string broken = encode(GetParam(), text_of(4000));
  for (size_t i = broken.size() / 2; i < broken.size() / 2 + 40; ++i) broken[i] = '\x55';
  EXPECT_FALSE(decode(codings, broken));
}

// What the allocator handed out and did not get back, of this process.
size_t memory_in_use() {
  const auto info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

TEST_P(EveryCoding, TenBombsCostBoundedMemoryAndAreRefused) {
  const Coding codings[] = {GetParam()};
  std::string bomb;
  {
    const std::string zeros(4 << 20, '\0');
    Encoder encoder(GetParam());
    for (int i = 0; i < 16; ++i) ASSERT_TRUE(encoder.feed(zeros, bomb));  // 64 MiB in a few KiB
    ASSERT_TRUE(encoder.finish(bomb));
  }
  ASSERT_LT(bomb.size(), 128U << 10);
  const size_t before = memory_in_use();
  size_t most = 0;
  std::vector<std::unique_ptr<Decoder>> decoders;
  for (int i = 0; i < 10; ++i) {
    uint64_t seen = 0;
    auto& decoder = decoders.emplace_back(std::make_unique<Decoder>(codings, Bounds{}));
    const auto fed = decoder->feed(bomb, [&](std::string_view piece) {
      seen += piece.size();
      most = std::max(most, memory_in_use());
    });
    ASSERT_FALSE(fed);
    EXPECT_EQ(fed.error().code, Code::TooLarge);
    EXPECT_LE(seen, std::max<uint64_t>(Bounds{}.free_output, bomb.size() * (Bounds{}.max_ratio + 1)) + 16384);
  }
  EXPECT_LT(most - before, 10 * (17U << 20)) << "a window each, at most";
}

TEST(Decoder, TakesOffSeveralLayers) {
  const Coding codings[] = {Coding::Gzip, Coding::Brotli};  // applied in this order
  const std::string text = text_of(5000);
  EXPECT_EQ(decode(codings, encode(Coding::Brotli, encode(Coding::Gzip, text))).value(), text);
}

TEST(Decoder, StopsABombInsideABomb) {
  const std::string inner = encode(Coding::Gzip, std::string(32 << 20, '\0'));
  const Coding codings[] = {Coding::Gzip, Coding::Gzip};
  EXPECT_EQ(decode(codings, encode(Coding::Gzip, inner)).error().code, Code::TooLarge);
}

TEST(Decoder, ReadsRawDeflateAndZlibUnderOneName) {
  const Coding codings[] = {Coding::Deflate};
  const std::string zlib = encode(Coding::Deflate, "hello hello hello");
  EXPECT_EQ(decode(codings, zlib).value(), "hello hello hello");
  const std::string raw = zlib.substr(2, zlib.size() - 6);  // without RFC 1950's header and Adler-32
  EXPECT_EQ(decode(codings, raw).value(), "hello hello hello");
}

TEST(Decoder, ReadsSeveralMembersAndFramesButNoTrailingRubbish) {
  const Coding gzip[] = {Coding::Gzip}, zstd[] = {Coding::Zstd}, brotli[] = {Coding::Brotli};
  EXPECT_EQ(decode(gzip, encode(Coding::Gzip, "ab") + encode(Coding::Gzip, "cd")).value(), "abcd");
  EXPECT_EQ(decode(zstd, encode(Coding::Zstd, "ab") + encode(Coding::Zstd, "cd")).value(), "abcd");
  EXPECT_FALSE(decode(gzip, encode(Coding::Gzip, "ab") + "x"));
  EXPECT_FALSE(decode(brotli, encode(Coding::Brotli, "ab") + "x"));
}

TEST(Decoder, RefusesAZstdWindowBeyondWhatTheCodingAllows) {
  // Frame header with a window descriptor of 2^27 (RFC 8878 3.1.1.1.2: exponent 17), then an empty last raw block.
  const std::string frame("\x28\xb5\x2f\xfd\x00\x88\x01\x00\x00", 9);
  const Coding codings[] = {Coding::Zstd};
  EXPECT_EQ(decode(codings, frame).error().code, Code::Protocol);
}

TEST(Decoder, WithoutACodingPassesTheBytes) {
  EXPECT_EQ(decode({}, "plain").value(), "plain");
  std::string_view bytes = "plain";
  char buffer[3];
  EXPECT_EQ(Decoder({}, {}).read(bytes, buffer).value(), 3U);
  EXPECT_EQ(bytes, "in");
}

}  // namespace
}  // namespace tapdeck::coding
