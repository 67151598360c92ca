// H1Witness: llhttp as the second reader of every byte that the guard let through. Guard and llhttp must agree on
// where each head, chunk and message ends; where they do not, the connection is refused. That turns any difference
// between two parsers, which is what request smuggling lives on, into an error.
//
// It hands out no data: heads come from the guard. Owner: H1Codec. Thread: its Worker's.
#pragma once

#include <llhttp/llhttp.h>

#include <cstdint>
#include <string_view>

#include "daemon/http/codec.h"

namespace tapdeck::http {

class H1Witness {
 public:
  // What the guard says follows the head; llhttp cannot know the request a response belongs to.
  enum class AfterHead : int { AsFramed = 0, NoBody = 1, Upgrade = 2 };

  explicit H1Witness(Role role);
  H1Witness(const H1Witness&) = delete;
  H1Witness& operator=(const H1Witness&) = delete;

  void begin();
  void expect(AfterHead what) { after_head_ = what; }
  // False when llhttp refuses the bytes; reason() says why.
  [[nodiscard]] bool feed(std::string_view bytes);
  [[nodiscard]] const char* reason() const;

  [[nodiscard]] bool head_complete() const { return head_complete_; }
  [[nodiscard]] bool message_complete() const { return message_complete_; }
  [[nodiscard]] uint64_t chunk_size() const { return chunk_size_; }
  [[nodiscard]] int status() const { return parser_.status_code; }

 private:
  static int on_headers_complete(llhttp_t* parser);
  static int on_message_complete(llhttp_t* parser);
  static int on_chunk_header(llhttp_t* parser);
  static const llhttp_settings_t& settings();

  llhttp_t parser_{};
  AfterHead after_head_ = AfterHead::AsFramed;
  bool head_complete_ = false;
  bool message_complete_ = false;
  uint64_t chunk_size_ = 0;
};

}  // namespace tapdeck::http
