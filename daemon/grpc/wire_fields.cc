#include "daemon/grpc/wire_fields.h"

#include <cstdint>
#include <optional>
#include <span>

namespace tapdeck::grpc {
namespace {

enum class WireType : uint8_t { Varint = 0, Fixed64 = 1, Bytes = 2, GroupStart = 3, GroupEnd = 4, Fixed32 = 5 };
using Steps = std::span<const config::FieldPath::Step>;
// Groups inside groups, the only recursion that the bytes decide: protobuf's own limit.
constexpr int kMaxDepth = 100;

struct Field {
  uint32_t number = 0;
  WireType type = WireType::Varint;
  uint64_t varint = 0;
  std::string_view bytes;  // of all but varints; a group's without its end tag
};

std::optional<uint64_t> take_varint(std::string_view& bytes) {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (bytes.empty()) return std::nullopt;
    const auto byte = static_cast<uint8_t>(bytes.front());
    bytes.remove_prefix(1);
    if (shift == 63 && byte > 1) return std::nullopt;  // more than 64 bits
    value |= uint64_t{byte & 0x7fu} << shift;
    if (byte < 0x80) return value;
  }
  return std::nullopt;
}

bool take_bytes(std::string_view& from, uint64_t size, std::string_view& out) {
  if (size > from.size()) return false;
  out = from.substr(0, size);
  from.remove_prefix(size);
  return true;
}

std::optional<Field> take_field(std::string_view& bytes, int depth);

// The fields up to the end tag of group `number`.
bool take_group(std::string_view& bytes, uint32_t number, std::string_view& inside, int depth) {
  const std::string_view begin = bytes;
  while (depth < kMaxDepth) {
    const std::string_view before = bytes;
    const auto field = take_field(bytes, depth + 1);
    if (!field) return false;
    if (field->type != WireType::GroupEnd) continue;
    inside = begin.substr(0, begin.size() - before.size());
    return field->number == number;
  }
  return false;
}

std::optional<Field> take_field(std::string_view& bytes, int depth) {
  const auto tag = take_varint(bytes);
  if (!tag || *tag > UINT32_MAX || *tag >> 3 == 0) return std::nullopt;
  Field field;
  field.number = static_cast<uint32_t>(*tag >> 3);
  field.type = static_cast<WireType>(*tag & 7);
  bool whole = true;
  switch (field.type) {
    case WireType::Varint: {
      const auto value = take_varint(bytes);
      whole = value.has_value();
      field.varint = value.value_or(0);
      break;
    }
    case WireType::Fixed64:
      whole = take_bytes(bytes, 8, field.bytes);
      break;
    case WireType::Fixed32:
      whole = take_bytes(bytes, 4, field.bytes);
      break;
    case WireType::Bytes: {
      const auto size = take_varint(bytes);
      whole = size && take_bytes(bytes, *size, field.bytes);
      break;
    }
    case WireType::GroupStart:
      whole = take_group(bytes, field.number, field.bytes, depth);
      break;
    case WireType::GroupEnd:
      break;
    default:
      return std::nullopt;
  }
  if (!whole) return std::nullopt;
  return field;
}

void append_number(uint64_t value, std::string& out) {
  for (int i = 0; i < 8; ++i) out += static_cast<char>(value >> (8 * i));
}

void append_value(const Field& field, std::string& out) {
  out += static_cast<char>(field.type);
  if (field.type == WireType::Varint) return append_number(field.varint, out);
  append_number(field.bytes.size(), out);
  out += field.bytes;
}

WireFormat choose(Steps steps, std::string_view message, std::string& out) {
  const auto& step = steps.front();
  size_t seen = 0;
  while (!message.empty()) {
    const auto field = take_field(message, 0);
    if (!field || field->type == WireType::GroupEnd) return WireFormat::Malformed;
    if (field->number != step.number) continue;
    const size_t element = seen++;
    if (step.element && *step.element != element) continue;
    if (steps.size() == 1) {
      append_value(*field, out);
    } else if (field->type != WireType::Bytes && field->type != WireType::GroupStart) {
      return WireFormat::Malformed;  // a number has no fields
    } else if (choose(steps.subspan(1), field->bytes, out) == WireFormat::Malformed) {
      return WireFormat::Malformed;
    }
  }
  return WireFormat::Well;
}

}  // namespace

WireFormat append_fields(const config::FieldPath& path, std::string_view message, std::string& out) {
  return choose(path.steps, message, out);
}

}  // namespace tapdeck::grpc
