// Descriptors: the services and messages of a route's proto files, and messages decoded with them.
//
// The only part of tapdeck that knows protobuf; its headers stay in descriptors.cc. Immutable after load(). Thread:
// any.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/result.h"
#include "daemon/config/field_path.h"
#include "daemon/grpc/message_rules.h"

namespace tapdeck::grpc {

// One message, for choosing several fields of it.
class DecodedMessage {
 public:
  DecodedMessage() = default;
  DecodedMessage(const DecodedMessage&) = delete;
  DecodedMessage& operator=(const DecodedMessage&) = delete;
  virtual ~DecodedMessage() = default;
  // Appends the values that `path` (by name) chooses, each with its size. An absent field is its default where the
  // field has no presence (proto3), nothing where it has. A path that this message's type does not have: nothing.
  virtual void append_fields(const config::FieldPath& path, std::string& out) const = 0;
};

class Descriptors {
 public:
  // InvalidConfig: see MessageRules::make.
  [[nodiscard]] static Result<std::unique_ptr<const Descriptors>> load(const std::vector<std::filesystem::path>& files);
  ~Descriptors();

  // Some method's request message has such a field. InvalidConfig names the nearest place where it goes wrong.
  [[nodiscard]] Result<void> check(const config::FieldPath& path) const;
  // nullptr: unknown method, or bytes that are not its request message.
  [[nodiscard]] std::unique_ptr<DecodedMessage> decode(std::string_view method, std::string_view message) const;
  // The message serialized by value: fields by number, map entries by key.
  [[nodiscard]] Decoded append_whole(std::string_view method, std::string_view message, std::string& out) const;

 private:
  struct Impl;
  explicit Descriptors(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tapdeck::grpc
