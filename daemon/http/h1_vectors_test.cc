// The public HTTP/1 vectors of llhttp's main branch, which is stricter than the llhttp we link: those in vectors/, or
// newer ones in the folder that TAPDECK_LLHTTP_VECTORS names (environment).
//
// Checked: what is invalid there is refused here; what is valid there is accepted here, unless a rule of ours (listed
// in `stricter`) forbids it. Lenient sections are input that nobody should accept; they only must not crash.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "daemon/http/h1_check.h"

namespace tapdeck::http {
namespace {

struct Vector {
  std::string name;
  std::string type;
  std::string bytes;
  std::string log;
};

std::string vectors_folder() {
  if (const char* set = std::getenv("TAPDECK_LLHTTP_VECTORS")) return set;
  return TAPDECK_LLHTTP_VECTORS;
}

// The vectors' notation: line ends mean CRLF, a trailing backslash joins lines, \r \n \t \f \xHH and octal are escapes.
std::string decode(const std::string& block) {
  std::string joined;
  for (size_t i = 0; i < block.size(); ++i) {
    if (block[i] == '\\' && i + 1 < block.size() && block[i + 1] == '\n') {
      ++i;
    } else if (block[i] == '\n') {
      joined += "\r\n";
    } else {
      joined += block[i];
    }
  }
  std::string out;
  for (size_t i = 0; i < joined.size(); ++i) {
    if (joined[i] != '\\' || i + 1 >= joined.size()) {
      out += joined[i];
      continue;
    }
    const char c = joined[++i];
    if (c == 'r')
      out += '\r';
    else if (c == 'n')
      out += '\n';
    else if (c == 't')
      out += '\t';
    else if (c == 'f')
      out += '\f';
    else if (c == 'x')
      out += static_cast<char>(std::stoi(joined.substr(i + 1, 2), nullptr, 16)), i += 2;
    else if (c >= '0' && c <= '7') {
      size_t used = 0;
      out += static_cast<char>(std::stoi(joined.substr(i, 3), &used, 8));
      i += used - 1;
    } else
      out += '\\', out += c;
  }
  return out;
}

std::string fenced(std::istream& in) {
  std::string text, line;
  while (std::getline(in, line) && line != "```") text += line + "\n";
  if (!text.empty()) text.pop_back();
  return text;
}

std::vector<Vector> load(const std::filesystem::path& file) {
  std::vector<Vector> all;
  std::ifstream in(file);
  std::string line, name, type;
  while (std::getline(in, line)) {
    if (line.starts_with("#")) name = file.filename().string() + ": " + line.substr(line.find_first_not_of("# "));
    if (const size_t at = line.find("\"type\": \""); at != std::string::npos) {
      type = line.substr(at + 9, line.find('"', at + 9) - at - 9);
    }
    if (line == "```http") all.push_back({name, type, decode(fenced(in)), {}});
    if (line == "```log" && !all.empty()) all.back().log = fenced(in);
  }
  return all;
}

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

// Why we may refuse what llhttp accepts: rules this project adds on purpose.
bool stricter(const std::string& detail) {
  for (const char* rule :
       {"without Host", "Host is not", "not exactly 'chunked'", "HTTP/0.9", "neither HTTP/1.1 nor", "Host repeated",
        "begin with HTTP/1.1 or HTTP/1.0", "in HTTP/1.0", "Transfer-Encoding repeated",
        // llhttp 8.1 takes no tab around a length where RFC 9110 5.5 allows it.
        "parsers disagree: Invalid character in Content-Length", "bytes that answer no request", "request target",
        "not implemented", "authority of the target", "CONNECT target", "CONNECT with a body", "scheme of the target",
        "truncated", "connection ended", "empty line in front", "announces a body", "nobody asked for",
        "parsers disagree: Invalid char in url"}) {
    if (has(detail, rule)) return true;
  }
  return false;
}

TranscriptOptions options_for(const Vector& vector) {
  TranscriptOptions options;
  options.show_detail = true;
  options.eof = false;
  if (vector.type.starts_with("response")) {
    options.role = Role::Client;
    options.requests = {"GET", "GET", "GET"};
    if (has(vector.bytes, " 101 ")) options.requests = {"GET upgrade"};
  }
  return options;
}

TEST(LlhttpVectors, InvalidIsRefusedAndValidIsAccepted) {
  const std::filesystem::path root = vectors_folder();
  ASSERT_TRUE(std::filesystem::exists(root)) << root;
  size_t refused = 0, accepted = 0, by_our_rules = 0, lenient = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    if (entry.path().extension() != ".md" || entry.path().filename() == "url.md") continue;
    for (const Vector& vector : load(entry.path())) {
      const TranscriptOptions options = options_for(vector);
      const std::string text = events(vector.bytes, options);
      const bool error_here = has(text, "error ");
      const bool error_there = has(vector.log, "error code=") && !has(vector.log, "error code=21") &&
                               !has(vector.log, "error code=22") && !has(vector.log, "Data after `Connection: close`");
      if ((vector.type != "request" && vector.type != "response") || has(vector.name, "(lenient)")) {
        ++lenient;
      } else if (error_there) {
        // Where the input ends before the fault can be seen, closing must not look like a whole message either.
        const std::string closed = [&] {
          TranscriptOptions with_eof = options;
          with_eof.eof = true;
          return events(vector.bytes, with_eof);
        }();
        EXPECT_TRUE(has(closed, "error ")) << vector.name << "\n" << vector.bytes << "\n" << vector.log << "\n" << text;
        ++refused;
      } else if (error_here) {
        EXPECT_TRUE(stricter(text)) << vector.name << "\n" << vector.bytes << "\n" << text;
        ++by_our_rules;
      } else {
        ++accepted;
      }
    }
  }
  RecordProperty("refused", static_cast<int>(refused));
  std::cerr << "llhttp vectors: " << refused << " invalid refused, " << accepted << " valid accepted, " << by_our_rules
            << " valid but refused by our stricter rules, " << lenient << " lenient\n";
  EXPECT_GT(refused, 50u);
  EXPECT_GT(accepted, 20u);
}

// Most request vectors lack Host. With one added, only real differences remain.
TEST(LlhttpVectors, ValidRequestsAreAcceptedOnceTheyHaveAHost) {
  const std::filesystem::path root = std::filesystem::path(vectors_folder()) / "request";
  ASSERT_TRUE(std::filesystem::exists(root)) << root;
  size_t accepted = 0;
  for (const auto& entry : std::filesystem::directory_iterator(root)) {
    for (Vector& vector : load(entry.path())) {
      if (vector.type != "request" || has(vector.name, "(lenient)") || has(vector.log, "error code=") ||
          has(vector.bytes, "Host:"))
        continue;
      const size_t line = vector.bytes.find("\r\n", vector.bytes.find_first_not_of("\r\n"));
      if (line == std::string::npos || !has(vector.bytes.substr(0, line), "HTTP/1.1")) continue;
      vector.bytes.insert(line + 2, "Host: a\r\n");
      TranscriptOptions options = options_for(vector);
      const std::string text = events(vector.bytes, options);
      const bool ours = has(text, "error ") && stricter(text);
      EXPECT_TRUE(ours || !has(text, "error ")) << vector.name << "\n" << vector.bytes << "\n" << text;
      accepted += has(text, "error ") ? 0 : 1;
    }
  }
  std::cerr << "llhttp vectors with Host added: " << accepted << " accepted\n";
  EXPECT_GT(accepted, 20u);
}

}  // namespace
}  // namespace tapdeck::http
