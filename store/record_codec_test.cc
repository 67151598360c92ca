#include "store/record_codec.h"

#include <gtest/gtest.h>

#include "store/byte_codec.h"

namespace tapdeck::store {
namespace {

Recording full_recording() {
  Recording r;
  r.take = 3;
  r.started_unix_us = 1'700'000'000'123'456;
  r.key.bytes.fill(0xab);
  r.request_body_digest.fill(0xcd);
  r.dimensions.push_back({"header:accept", Digest{1, 2, 3}});
  r.scheme = "https";
  r.host = "api.example.com";
  r.port = 8443;
  r.request.method = "POST";
  r.request.target = "/a?b=c";
  r.request.authority = "api.example.com:8443";
  r.request.headers.add("hOsT", "api.example.com:8443");
  r.request.headers.add("X", "1");
  r.request.headers.add("X", "");
  r.request_body.size = 5;
  r.request_body.inline_bytes = "hello";
  r.request_body.timeline.push_back({Chunk::Kind::H1Chunk, 0, 5, 77, ";ext=1"});
  r.request_trailers.add("T", "v");
  r.informational.emplace_back().status = 103;
  r.response.status = 201;
  r.response.reason = "Made";
  r.response.version = http::Version::Http10;
  r.response_body.size = 300;
  r.response_body.segments.push_back({Digest{9}, 200});
  r.response_body.segments.push_back({Digest{8}, 100});
  r.response_trailers.add("Grpc-Status", "0");
  r.outcome = {Outcome::Kind::Truncated, 300, "fin", 8};
  r.request.protocol = "websocket";
  r.messages.push_back({BodySide::Request, Message::Kind::Text, true, 0, 1, 4, 99});
  r.messages.push_back({BodySide::Response, Message::Kind::Close, false, 1000, 298, 2, 120});
  r.provenance.target = "web";
  r.provenance.client = *Endpoint::parse("10.0.0.1:4000");
  r.provenance.original_destination = *Endpoint::parse("[2001:db8::1]:443");
  r.provenance.timings.total = 123456;
  r.provenance.timings.head = 1234;
  return r;
}

std::string encoded(const Recording& recording) {
  std::string out;
  encode_record(recording, out);
  return out;
}

TEST(RecordCodec, GivesBackWhatWasEncoded) {
  const auto decoded = decode_record(encoded(full_recording()));
  ASSERT_TRUE(decoded) << decoded.error().message();
  EXPECT_EQ(decoded->host, "api.example.com");
  EXPECT_EQ(decoded->request.headers[0].name, "hOsT");
  EXPECT_EQ(decoded->request.headers.size(), 3u);
  EXPECT_EQ(decoded->response_body, full_recording().response_body);
  EXPECT_EQ(decoded->request_body, full_recording().request_body);
  EXPECT_EQ(decoded->outcome, full_recording().outcome);
  EXPECT_EQ(decoded->messages, full_recording().messages);
  EXPECT_EQ(decoded->request.protocol, "websocket");
  EXPECT_EQ(decoded->provenance, full_recording().provenance);
  EXPECT_EQ(decoded->informational.at(0).status, 103);
  EXPECT_EQ(encoded(*decoded), encoded(full_recording()));
}

// Field by field, in the order of docs/EXPORT_FORMAT.md: others read this.
TEST(RecordCodec, WritesWhatThePageOfTheFormatSays) {
  const Recording r = full_recording();
  std::string bytes;
  ByteWriter out(bytes);
  const auto numbers = [&](std::initializer_list<uint64_t> values) {
    for (const uint64_t value : values) out.varint(value);
  };
  const auto strings = [&](std::initializer_list<std::string_view> values) {
    for (const std::string_view value : values) out.string(value);
  };
  out.byte(4);
  out.varint(3);
  out.u64(1'700'000'000'123'456);
  out.bytes(r.key.bytes);
  out.bytes(r.request_body_digest);
  out.varint(1);
  out.string("header:accept");
  out.bytes(Digest{1, 2, 3});
  strings({"https", "api.example.com"});
  out.varint(8443);
  strings({"POST", "/a?b=c"});
  out.byte(1);  // HTTP/1.1
  strings({"", "api.example.com:8443", "websocket"});
  out.varint(3);
  strings({"hOsT", "api.example.com:8443", "X", "1", "X", ""});
  out.varint(5);  // the request's body
  out.string("hello");
  numbers({0, 1});
  out.byte(1);  // a chunk of chunked coding
  numbers({0, 5, 77});
  out.string(";ext=1");
  out.varint(1);
  strings({"T", "v"});
  numbers({1, 103});  // informational
  out.string("");
  out.byte(1);
  numbers({0, 201});  // no fields; the response
  out.string("Made");
  out.byte(0);
  numbers({0, 300});  // no fields; its body
  out.string("");
  out.varint(2);
  out.bytes(Digest{9});
  out.varint(200);
  out.bytes(Digest{8});
  numbers({100, 0, 1});  // no chunks; trailers
  strings({"Grpc-Status", "0"});
  out.byte(1);  // truncated
  out.varint(300);
  out.string("fin");
  numbers({8, 2});                                                  // code; messages
  for (const int b : {0, 0, 1}) out.byte(static_cast<uint8_t>(b));  // the client's, text, compressed
  numbers({0, 1, 4, 99});
  for (const int b : {1, 4, 0}) out.byte(static_cast<uint8_t>(b));  // the origin's, close
  numbers({1000, 298, 2, 120});
  out.string("web");
  numbers({0, 0, 0, 0});
  out.string("");
  out.byte(4);
  numbers({4000, 0});
  out.bytes(std::array<uint8_t, 16>{10, 0, 0, 1});
  out.byte(6);
  numbers({443, 0});
  out.bytes(std::array<uint8_t, 16>{0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
  strings({"", "", "", "", "", "", "", ""});
  numbers({0, 0, 0, 0, 123456, 1234});
  EXPECT_EQ(encoded(r), bytes);
}

TEST(RecordCodec, RefusesEveryTruncation) {
  const std::string whole = encoded(full_recording());
  for (size_t n = 0; n < whole.size(); ++n) {
    const auto decoded = decode_record(std::string_view(whole).substr(0, n));
    ASSERT_FALSE(decoded) << n;
    EXPECT_EQ(decoded.error().code, Code::Corrupt) << n;
  }
  EXPECT_FALSE(decode_record(whole + "x"));
}

TEST(RecordCodec, SurvivesEveryChangedByte) {
  const std::string whole = encoded(full_recording());
  for (size_t i = 0; i < whole.size(); ++i) {
    for (const int flip : {0x01, 0x80, 0xff}) {
      std::string bad = whole;
      bad[i] = static_cast<char>(bad[i] ^ flip);
      const auto decoded = decode_record(bad);
      if (decoded) EXPECT_EQ(encoded(*decoded), bad) << "byte " << i << ": one value, one encoding";
    }
  }
}

TEST(RecordCodec, NamesANewerVersion) {
  std::string whole = encoded(full_recording());
  whole[0] = static_cast<char>(kRecordVersion + 1);
  EXPECT_EQ(decode_record(whole).error().code, Code::Unsupported);
}

TEST(RecordCodec, ACopyIsOfTheVersionOfItsOriginal) {
  for (const int version : {1, 2, 3}) {
    Recording recording = full_recording();
    recording.version = static_cast<uint8_t>(version);
    const std::string bytes = encoded(recording);
    const auto decoded = decode_record(bytes);
    ASSERT_TRUE(decoded) << decoded.error().message();
    EXPECT_EQ(decoded->version, version);
    EXPECT_EQ(encoded(*decoded), bytes);
  }
}

TEST(RecordCodec, ReadsWhatVersionTwoWrote) {
  Recording recording = full_recording();
  recording.provenance.timings.head = 0;
  std::string bytes = encoded(recording);
  bytes[0] = 2;
  bytes.pop_back();  // ends with its other timings
  const auto decoded = decode_record(bytes);
  ASSERT_TRUE(decoded) << decoded.error().message();
  EXPECT_EQ(decoded->provenance, recording.provenance);
}

TEST(RecordCodec, AResetOfVersionTwoIsGivenTheCodeItHadOnTheWire) {
  Recording recording = full_recording();
  recording.provenance.timings.head = 0;
  const auto read = [&](http::Version version, Outcome::Kind kind, uint32_t code) {
    recording.response.version = version;
    recording.outcome = {kind, 300, "upstream_reset", code};
    std::string bytes = encoded(recording);
    bytes[0] = 2;
    bytes.pop_back();
    return decode_record(bytes)->outcome.code;
  };
  using Kind = Outcome::Kind;
  EXPECT_EQ(read(http::Version::Http2, Kind::Reset, 104), 2U) << "an errno";
  EXPECT_EQ(read(http::Version::Http2, Kind::Reset, 0), 2U);
  EXPECT_EQ(read(http::Version::Http2, Kind::Reset, 8), 8U);
  EXPECT_EQ(read(http::Version::Http2, Kind::Reset, 0xd), 0xdU);
  EXPECT_EQ(read(http::Version::Http11, Kind::Reset, 104), 104U);
  EXPECT_EQ(read(http::Version::Http2, Kind::Truncated, 0), 0U);
  recording.outcome = {Kind::Reset, 300, "upstream_reset", 0};
  recording.response.version = http::Version::Http2;
  EXPECT_EQ(decode_record(encoded(recording))->outcome.code, 0U) << "a version that says what it means";
}

TEST(RecordCodec, ReadsWhatVersionOneWrote) {
  // A GET of version 1, field by field: no protocol, no outcome code, no messages.
  std::string bytes;
  ByteWriter out(bytes);
  out.byte(1);
  out.varint(3);  // take
  out.u64(5);     // started
  out.bytes(Digest{1});
  out.bytes(Digest{});
  out.varint(0);  // dimensions
  for (const std::string_view text : {"http", "a.test"}) out.string(text);
  out.varint(80);
  for (const std::string_view text : {"GET", "/"}) out.string(text);
  out.byte(static_cast<uint8_t>(http::Version::Http11));
  for (const std::string_view text : {"http", "a.test"}) out.string(text);
  for (int i = 0; i < 4; ++i) out.varint(0);  // headers, request body, trailers, informational
  out.varint(204);
  out.string("No Content");
  out.byte(static_cast<uint8_t>(http::Version::Http11));
  for (int i = 0; i < 3; ++i) out.varint(0);  // headers, response body, trailers
  out.byte(static_cast<uint8_t>(Outcome::Kind::Truncated));
  out.varint(7);
  out.string("fin");
  out.string("web");                           // provenance: target
  for (int i = 0; i < 4; ++i) out.varint(0);   // cgroup, netns, pid, uid
  out.string("");                              // comm
  for (int i = 0; i < 2; ++i) out.byte(0);     // client, destination
  for (int i = 0; i < 8; ++i) out.string("");  // path .. route
  for (int i = 0; i < 5; ++i) out.varint(0);   // timings
  const auto decoded = decode_record(bytes);
  ASSERT_TRUE(decoded) << decoded.error().message();
  EXPECT_EQ(decoded->response.status, 204);
  EXPECT_EQ(decoded->outcome, (Outcome{Outcome::Kind::Truncated, 7, "fin"}));
  EXPECT_EQ(decoded->provenance.target, "web");
  EXPECT_TRUE(decoded->messages.empty());
}

TEST(RecordCodec, RefusesAMessageOutsideItsBody) {
  Recording r = full_recording();
  r.messages.back().length = 3;
  EXPECT_EQ(decode_record(encoded(r)).error().code, Code::Corrupt);
}

TEST(RecordCodec, RefusesABodyWhosePartsDoNotAddUp) {
  Recording r = full_recording();
  r.response_body.segments.pop_back();
  EXPECT_EQ(decode_record(encoded(r)).error().code, Code::Corrupt);
}

}  // namespace
}  // namespace tapdeck::store
