#include "daemon/grpc/message_rules.h"

#include <utility>

#include "daemon/grpc/descriptors.h"
#include "daemon/grpc/wire_fields.h"

namespace tapdeck::grpc {

MessageRules::MessageRules() = default;
MessageRules::~MessageRules() = default;

Result<std::shared_ptr<const MessageRules>> MessageRules::make(const std::vector<std::filesystem::path>& proto_files,
                                                               const std::vector<std::string>& match_fields) {
  std::shared_ptr<MessageRules> rules(new MessageRules());
  if (!proto_files.empty()) {
    TRY(descriptors, Descriptors::load(proto_files));
    rules->descriptors_ = std::move(descriptors);
  }
  for (const std::string& text : match_fields) {
    auto path = config::FieldPath::parse(text);
    if (!path) return fail(Code::InvalidConfig, path.error().detail);
    if (!path->is_numeric()) {
      if (rules->descriptors_ == nullptr) {
        return fail(Code::InvalidConfig,
                    "match_fields: '" + text + "' is a name; give proto_files, or the number of the field");
      }
      TRY_VOID(rules->descriptors_->check(*path));
    }
    rules->fields_.push_back(std::move(*path));
  }
  return rules;
}

Decoded MessageRules::append_canonical(std::string_view method, size_t index, std::string_view message,
                                       std::string& out) const {
  if (fields_.empty() && descriptors_ != nullptr) return descriptors_->append_whole(method, message, out);
  std::unique_ptr<DecodedMessage> decoded;
  for (const config::FieldPath& path : fields_) {
    if (path.message && *path.message != index) continue;
    // Each choice stands behind its path and its size: absent, empty and moved to another field are three things.
    std::string chosen;
    if (path.is_numeric()) {
      if (append_fields(path, message, chosen) == WireFormat::Malformed) return Decoded::No;
    } else {
      if (decoded == nullptr) decoded = descriptors_->decode(method, message);
      if (decoded == nullptr) return Decoded::No;
      decoded->append_fields(path, chosen);
    }
    out += path.text + '\0' + std::to_string(chosen.size()) + '\0';
    out += chosen;
  }
  return Decoded::Yes;
}

}  // namespace tapdeck::grpc
