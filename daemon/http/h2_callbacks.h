// The functions nghttp2 calls while it reads and writes in memory; each only finds its codec and stream. Private to
// H2Codec.
#pragma once

#include "daemon/http/h2_codec.h"

namespace tapdeck::http {

struct H2Codec::Callbacks {
  // Made once; nghttp2 copies it into each session.
  static const nghttp2_session_callbacks* table();

  // h2_receive.cc
  static int begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* codec);
  static int header(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                    const uint8_t* value, size_t value_size, uint8_t flags, void* codec);
  static int invalid_header(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                            const uint8_t* value, size_t value_size, uint8_t flags, void* codec);
  static int data_chunk(nghttp2_session*, uint8_t flags, int32_t stream, const uint8_t* data, size_t size, void* codec);
  static int frame_received(nghttp2_session*, const nghttp2_frame* frame, void* codec);
  static int stream_closed(nghttp2_session*, int32_t stream, uint32_t code, void* codec);
  static int complaint(nghttp2_session*, int library_code, const char* text, size_t size, void* codec);

  // h2_send.cc
  static int frame_sent(nghttp2_session*, const nghttp2_frame* frame, void* codec);
  static int frame_not_sent(nghttp2_session*, const nghttp2_frame* frame, int library_code, void* codec);
  static ssize_t read_body(nghttp2_session*, int32_t stream, uint8_t* to, size_t length, uint32_t* flags,
                           nghttp2_data_source* source, void* codec);
  static int send_data(nghttp2_session*, nghttp2_frame* frame, const uint8_t* header, size_t length,
                       nghttp2_data_source* source, void* codec);
};

}  // namespace tapdeck::http
