// Test support: what a reader makes of a transcript, as lines, whole or cut in two.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "daemon/ws/message_reader.h"

namespace tapdeck::ws {

inline std::string line_of(const Message& message) {
  std::string line = std::string(to_string(message.kind)) + (message.compressed ? "* " : " ");
  if (message.kind == Kind::Close) line += std::to_string(message.code) + ' ';
  return line + message.payload;
}

// The messages, then "violation CODE: why" if it came to that.
inline std::vector<std::string> read_in_two(const ReaderOptions& options, std::string_view bytes, size_t cut) {
  MessageReader reader(options);
  std::vector<Message> messages;
  auto fed = reader.feed(bytes.substr(0, cut), messages);
  if (fed) fed = reader.feed(bytes.substr(cut), messages);
  std::vector<std::string> lines;
  for (const Message& message : messages) lines.push_back(line_of(message));
  if (!fed) lines.push_back("violation " + std::to_string(fed.error().code) + ": " + fed.error().detail);
  return lines;
}

// A frame with any first byte, masked by a fixed mask.
inline std::string frame(unsigned first, std::string_view payload, bool masked = true) {
  const Mask mask = {0x37, 0xfa, 0x21, 0x3d};
  std::string out;
  append_frame(out, Opcode::Binary, payload, Compressed::No, masked ? std::optional(mask) : std::nullopt);
  out[0] = static_cast<char>(first);
  return out;
}

}  // namespace tapdeck::ws
