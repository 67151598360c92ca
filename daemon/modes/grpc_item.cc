#include "daemon/modes/grpc_item.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "daemon/modes/grpc_digest.h"

namespace tapdeck::modes {

Result<std::shared_ptr<const GrpcItem>> load_grpc_item(const store::ExchangeStore& store, std::string_view session,
                                                       uint64_t id,
                                                       const std::shared_ptr<const grpc::MessageRules>& rules) {
  auto item = std::make_shared<GrpcItem>();
  TRY(loaded, load_item(store, session, id));
  static_cast<ReplayItem&>(*item) = *loaded;
  const store::Recording& recording = item->recording;
  std::vector<store::Digest> client;
  MessageDigests digests(recording.request, rules.get(), nullptr);
  TRY_VOID(store.read_body(recording.request_body, [&](std::string_view bytes) {
    digests.feed(bytes, client);
    return true;
  }));
  item->script = make_script(recording, std::move(client));
  return std::shared_ptr<const GrpcItem>(std::move(item));
}

bool sent_same(const GrpcItem& a, const GrpcItem& b, const GrpcSaid& said) {
  const int status = b.recording.response.status;  // 0: its client left before any
  if (said.head_sent && status != 0 && status != a.recording.response.status) return false;
  if (said.bytes_sent == 0) return true;
  if (!a.is_cached() || !b.is_cached() || b.body.size() < said.bytes_sent) return false;
  return std::string_view(a.body).substr(0, said.bytes_sent) == std::string_view(b.body).substr(0, said.bytes_sent);
}

bool was_left_in_silence(const GrpcItem& item) {
  return item.recording.outcome.kind == store::Outcome::Kind::Incomplete && item.script.steps.size() == 1;
}

bool was_left_speaking(const GrpcItem& item) {
  return item.recording.outcome.kind == store::Outcome::Kind::Incomplete &&
         std::ranges::find(item.script.steps, GrpcStep::Kind::ClientEnd, &GrpcStep::kind) == item.script.steps.end();
}

bool is_head_only(const store::Recording& recording) {
  return recording.outcome.kind == store::Outcome::Kind::Complete && recording.response_body.empty() &&
         recording.response_trailers.empty();
}

http::Headers status_fields(const http::Headers& head) {
  http::Headers trailers;
  for (size_t i = 0; i < head.size(); ++i) {
    const auto [name, value] = head[i];
    if (name.starts_with("grpc-")) trailers.add(name, value);
  }
  return trailers;
}

}  // namespace tapdeck::modes
