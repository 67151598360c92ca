#include "daemon/modes/grpc_miss.h"

#include <algorithm>

namespace tapdeck::modes {
namespace {

constexpr size_t kMessageBytes = 3000;  // percent-encoding makes at most three bytes of one

std::string shown(const std::vector<store::Digest>& messages, size_t index) {
  return index < messages.size() ? store::to_hex(messages[index]).substr(0, 8) : "<absent>";
}

}  // namespace

Result<void> send_status(exchange::Exchange& exchange, const GrpcStatus& status, StatusIn where) {
  const bool head_sent = where == StatusIn::Trailers;
  http::ResponseHead head;
  head.status = 200;
  head.reason = "OK";
  http::Headers trailers;
  http::Headers& fields = head_sent ? trailers : head.headers;
  if (!head_sent)
    fields.add("content-type", exchange.request().headers.find("content-type").value_or("application/grpc"));
  fields.add("grpc-status", std::to_string(status.code));
  if (!status.message.empty()) fields.add("grpc-message", grpc::encode_message(status.message));
  return head_sent ? exchange.end(trailers) : exchange.respond(head, http::EndStream::Yes);
}

std::string miss_text(const Miss& miss) {
  std::string text = miss_json(miss);
  if (text.size() > kMessageBytes) {
    Miss shorter = miss;
    shorter.nearest.clear();
    text = miss_json(shorter);
  }
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.substr(0, kMessageBytes);
}

bool is_body_alone(const Miss& miss) {
  if (miss.nearest.empty()) return false;
  const auto& differs = miss.nearest.front().differs;
  return differs.size() == 1 && differs.front().where == "body";
}

void name_first_message(Miss& miss) {
  for (store::Nearest& nearest : miss.nearest) {
    for (store::Difference& difference : nearest.differs) {
      if (difference.where == "body") difference.where = kFirstGrpcMessage;
    }
  }
}

store::Nearest diverged(uint64_t recording, const GrpcScript& script, const GrpcSaid& said) {
  size_t index = 0;
  while (index < said.client.size() && index < script.client.size() && said.client[index] == script.client[index]) {
    ++index;
  }
  store::Difference difference{"grpc message " + std::to_string(index + 1), shown(script.client, index),
                               shown(said.client, index)};
  return {recording, {std::move(difference)}};
}

}  // namespace tapdeck::modes
