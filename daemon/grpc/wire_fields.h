// Fields of a protobuf message by number, read from its wire format without a descriptor.
//
// Not a decoder: a length-delimited field may be a string, bytes, a message or packed numbers, and here it is bytes.
// What is chosen compares by wire type and value: a varint of more bytes than needed is the same number. Pure.
// Thread: any.
#pragma once

#include <string>
#include <string_view>

#include "daemon/config/field_path.h"

namespace tapdeck::grpc {

enum class WireFormat { Well, Malformed };

// Appends what `path` (numeric) chooses in `message` to `out`, every occurrence in order: for one value tag, size and
// bytes, so that no two different choices append the same. Malformed: the message, or one on the way, is not protobuf;
// `out` is then of no use.
[[nodiscard]] WireFormat append_fields(const config::FieldPath& path, std::string_view message, std::string& out);

}  // namespace tapdeck::grpc
