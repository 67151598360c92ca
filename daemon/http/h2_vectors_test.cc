// The public HTTP/2 frame vectors: those in vectors/, or others in the folder that TAPDECK_H2_VECTORS names
// (environment).
//
// Checked: every frame header is read as the vector says; every frame that is an error there ends in a GOAWAY or
// RST_STREAM with one of the codes that are right.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "daemon/http/h2_transcript.h"

namespace tapdeck::http {
namespace {

std::filesystem::path vectors_folder() {
  if (const char* set = std::getenv("TAPDECK_H2_VECTORS")) return set;
  return TAPDECK_H2_VECTORS;
}

std::string unhex(std::string_view text) {
  std::string out;
  for (size_t i = 0; i + 1 < text.size(); i += 2) {
    out += static_cast<char>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16));
  }
  return out;
}

// The codes of all GOAWAY and RST_STREAM frames a codec answers `wire` with, in a role where the frame may come at all.
std::vector<uint32_t> codes_after(std::string_view wire) {
  const auto header = H2FrameHeader::parse(wire);
  const Role role = header.type == NGHTTP2_PUSH_PROMISE ? Role::Client : Role::Server;
  auto codec = make_h2_codec(role, {}, "https");
  H2Log log(*codec, role);
  if (role == Role::Server) {
    codec->input().append(kH2Preface);
  } else {
    RequestHead head;
    head.method = "GET";
    head.target = "/";
    head.authority = "a";
    EXPECT_TRUE(codec->send_request(head, EndStream::Yes));
  }
  codec->input().append(settings());
  // DATA and WINDOW_UPDATE speak of a stream that is open.
  if (role == Role::Server && header.stream == 1 && header.type != NGHTTP2_HEADERS) {
    codec->input().append(headers(1, get(), kEndHeadersFlag));
  }
  log.drive();
  codec->output().clear();
  codec->input().append(wire);
  log.drive();
  std::vector<uint32_t> codes;
  std::istringstream frames(frames_of(codec->output().to_string()));
  for (std::string type, line; frames >> type && std::getline(frames, line);) {
    if (type == "GOAWAY" || type == "RST_STREAM") {
      codes.push_back(static_cast<uint32_t>(std::stoul(line.substr(line.find_last_of(' ') + 1))));
    }
  }
  return codes;
}

TEST(H2FrameVectors, HeadersAreReadAndErrorsAreAnswered) {
  const std::filesystem::path root = vectors_folder();
  ASSERT_TRUE(std::filesystem::exists(root)) << root;
  size_t read = 0, refused = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    if (entry.path().extension() != ".json") continue;
    std::ifstream in(entry.path());
    const auto vector = nlohmann::json::parse(in);
    const std::string wire = unhex(vector.at("wire").get<std::string>());
    ASSERT_GE(wire.size(), H2FrameHeader::kBytes);
    if (!vector.at("error").is_null()) {
      const auto right = vector.at("error").get<std::vector<uint32_t>>();
      const auto codes = codes_after(wire);
      const bool found =
          std::any_of(codes.begin(), codes.end(), [&](uint32_t code) { return std::ranges::count(right, code) > 0; });
      EXPECT_TRUE(found) << entry.path() << ": " << testing::PrintToString(codes) << " instead of "
                         << testing::PrintToString(right);
      ++refused;
    } else {
      const auto header = H2FrameHeader::parse(wire);
      const auto& frame = vector.at("frame");
      EXPECT_EQ(header.length, frame.at("length").get<uint32_t>()) << entry.path();
      EXPECT_EQ(header.type, frame.at("type").get<uint32_t>()) << entry.path();
      EXPECT_EQ(header.flags, frame.at("flags").get<uint32_t>()) << entry.path();
      EXPECT_EQ(header.stream, frame.at("stream_identifier").get<uint32_t>()) << entry.path();
      ++read;
    }
  }
  std::cerr << "HTTP/2 frame vectors: " << read << " headers read, " << refused << " errors answered\n";
  EXPECT_GT(read, 10u);
  EXPECT_GT(refused, 20u);
}

}  // namespace
}  // namespace tapdeck::http
