#include "netns-tests/h2_client.h"

#include <nghttp2/nghttp2.h>

#include <array>
#include <ostream>
#include <utility>

namespace tapdeck::lab {

std::ostream& operator<<(std::ostream& out, const H2Answer& answer) {
  out << "status " << answer.status << ", " << answer.body.size() << " bytes \"" << answer.body << '"';
  if (answer.complete) out << ", complete";
  if (answer.reset) out << ", RST_STREAM " << *answer.reset;
  if (answer.lost) out << ", connection lost";
  return out;
}

struct H2Client::Callbacks {
  static H2Client& self(void* user) { return *static_cast<H2Client*>(user); }
  static int on_header(nghttp2_session* /*session*/, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                       const uint8_t* value, size_t value_size, uint8_t /*flags*/, void* user) {
    H2Client& client = self(user);
    const std::string field(reinterpret_cast<const char*>(name), name_size);
    if (frame->hd.stream_id == client.current_ && field == ":status") {
      client.answer_.status = std::stoi(std::string(reinterpret_cast<const char*>(value), value_size));
    }
    return 0;
  }
  static int on_data(nghttp2_session* /*session*/, uint8_t /*flags*/, int32_t stream, const uint8_t* data, size_t size,
                     void* user) {
    H2Client& client = self(user);
    if (stream == client.current_) client.answer_.body.append(reinterpret_cast<const char*>(data), size);
    return 0;
  }
  static int on_frame(nghttp2_session* /*session*/, const nghttp2_frame* frame, void* user) {
    H2Client& client = self(user);
    if (frame->hd.stream_id != client.current_) return 0;
    const bool ends = (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) &&
                      (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (ends) client.answer_.complete = true;
    if (frame->hd.type == NGHTTP2_RST_STREAM) client.answer_.reset = frame->rst_stream.error_code;
    return 0;
  }
  static int on_close(nghttp2_session* /*session*/, int32_t stream, uint32_t /*code*/, void* user) {
    H2Client& client = self(user);
    if (stream == client.current_) client.over_ = true;
    return 0;
  }
};

H2Client::H2Client(Stream stream, std::string scheme) : stream_(std::move(stream)), scheme_(std::move(scheme)) {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, &Callbacks::on_header);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, &Callbacks::on_data);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, &Callbacks::on_frame);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, &Callbacks::on_close);
  nghttp2_session_client_new(&session_, callbacks, this);
  nghttp2_session_callbacks_del(callbacks);
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, nullptr, 0);
}

H2Client::~H2Client() {
  nghttp2_session_del(session_);
}

void H2Client::send_all() {
  const uint8_t* bytes = nullptr;
  for (ssize_t n = 0; (n = nghttp2_session_mem_send(session_, &bytes)) > 0;) {
    stream_.send({reinterpret_cast<const char*>(bytes), static_cast<size_t>(n)});
  }
}

H2Answer H2Client::get(const std::string& authority, const std::string& path) {
  const auto field = [](const char* name, const std::string& value) {
    return nghttp2_nv{reinterpret_cast<uint8_t*>(const_cast<char*>(name)),
                      reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), std::char_traits<char>::length(name),
                      value.size(), NGHTTP2_NV_FLAG_NONE};
  };
  const std::string method = "GET";
  const std::array fields = {field(":method", method), field(":scheme", scheme_), field(":authority", authority),
                             field(":path", path)};
  answer_ = {};
  over_ = false;
  current_ = nghttp2_submit_request(session_, nullptr, fields.data(), fields.size(), nullptr, nullptr);
  send_all();
  while (!over_ && !answer_.lost) {
    const std::string came = stream_.read_some();
    const auto* data = reinterpret_cast<const uint8_t*>(came.data());
    if (came.empty() || nghttp2_session_mem_recv(session_, data, came.size()) < 0) answer_.lost = true;
    send_all();
  }
  return std::exchange(answer_, {});
}

}  // namespace tapdeck::lab
