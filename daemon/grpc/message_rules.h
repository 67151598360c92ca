// MessageRules: what of a gRPC message takes part in matching: a route's [routes.grpc], compiled.
//
//   match_fields by number               those fields, from the wire format
//   match_fields by name, proto_files    those fields of the method's request type, by value
//   proto_files alone                    the whole message, by value: the order of fields does not matter
//
// Immutable after make(); shared by all workers. Thread: any.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/result.h"
#include "daemon/config/field_path.h"

namespace tapdeck::grpc {

class Descriptors;

enum class Decoded { No, Yes };

class MessageRules {
 public:
  // Error InvalidConfig: a file is missing or invalid ("file:line:column: what"), or a named field is in no request
  // message of any service in them. `proto_files`: .proto text, anything else is a FileDescriptorSet
  // (protoc --include_imports -o).
  [[nodiscard]] static Result<std::shared_ptr<const MessageRules>> make(
      const std::vector<std::filesystem::path>& proto_files, const std::vector<std::string>& match_fields);
  ~MessageRules();

  // Appends to `out` what counts of client message number `index` (from 0) of `method` ("/pkg.Service/Method"). No: the
  // bytes are no such message, or no proto file has the method; `out` is then of no use.
  [[nodiscard]] Decoded append_canonical(std::string_view method, size_t index, std::string_view message,
                                         std::string& out) const;

 private:
  MessageRules();
  std::vector<config::FieldPath> fields_;
  std::unique_ptr<const Descriptors> descriptors_;  // null: no proto files
};

}  // namespace tapdeck::grpc
