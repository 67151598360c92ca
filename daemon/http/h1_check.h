// Shared by the tests of this folder: every case runs whole, cut at every byte, and byte by byte.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "daemon/http/h1_transcript.h"

namespace tapdeck::http {

// The transcript of `bytes`, after checking that no way of cutting them changes it.
inline std::string events(std::string_view bytes, const TranscriptOptions& options = {}) {
  const std::string whole = transcript(bytes, options);
  EXPECT_EQ(transcript_bytewise(bytes, options), whole) << "byte by byte: " << bytes;
  for (size_t at = 1; at < bytes.size(); ++at) {
    const std::string cut = transcript_cut(bytes, at, options);
    EXPECT_EQ(cut, whole) << "cut at " << at << " of: " << bytes;
    if (cut != whole) break;
  }
  return whole;
}

inline TranscriptOptions server() {
  return {};
}
inline TranscriptOptions client(std::vector<std::string> requests = {"GET"}) {
  return {.role = Role::Client, .requests = std::move(requests)};
}

}  // namespace tapdeck::http
