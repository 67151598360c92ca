#include "daemon/http/h1_witness.h"

namespace tapdeck::http {

const llhttp_settings_t& H1Witness::settings() {
  static const llhttp_settings_t table = [] {
    llhttp_settings_t s;
    llhttp_settings_init(&s);
    s.on_headers_complete = &H1Witness::on_headers_complete;
    s.on_message_complete = &H1Witness::on_message_complete;
    s.on_chunk_header = &H1Witness::on_chunk_header;
    return s;
  }();
  return table;
}

H1Witness::H1Witness(Role role) {
  llhttp_init(&parser_, role == Role::Server ? HTTP_REQUEST : HTTP_RESPONSE, &settings());
  parser_.data = this;
}

void H1Witness::begin() {
  llhttp_reset(&parser_);
  after_head_ = AfterHead::AsFramed;
  head_complete_ = message_complete_ = false;
  chunk_size_ = 0;
}

bool H1Witness::feed(std::string_view bytes) {
  if (bytes.empty()) return true;
  const llhttp_errno_t error = llhttp_execute(&parser_, bytes.data(), bytes.size());
  if (error == HPE_OK) return true;
  // The pause after an upgrade comes behind the last byte of the message; one before it would hide unread bytes.
  return error == HPE_PAUSED_UPGRADE && llhttp_get_error_pos(&parser_) == bytes.data() + bytes.size();
}

const char* H1Witness::reason() const {
  const char* text = llhttp_get_error_reason(&parser_);
  return text != nullptr && *text != '\0' ? text : "refused by the second parser";
}

int H1Witness::on_headers_complete(llhttp_t* parser) {
  auto* self = static_cast<H1Witness*>(parser->data);
  self->head_complete_ = true;
  return static_cast<int>(self->after_head_);
}

int H1Witness::on_message_complete(llhttp_t* parser) {
  static_cast<H1Witness*>(parser->data)->message_complete_ = true;
  return 0;
}

int H1Witness::on_chunk_header(llhttp_t* parser) {
  static_cast<H1Witness*>(parser->data)->chunk_size_ = parser->content_length;
  return 0;
}

}  // namespace tapdeck::http
