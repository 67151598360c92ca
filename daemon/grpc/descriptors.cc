#include "daemon/grpc/descriptors.h"

#include <google/protobuf/compiler/importer.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/descriptor_database.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <bit>
#include <fstream>
#include <iterator>
#include <map>
#include <numeric>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace tapdeck::grpc {

namespace pb = google::protobuf;
using config::FieldPath;
using Steps = std::span<const FieldPath::Step>;

namespace {

constexpr std::string_view kNoService = "has no service, so no request message to match";

class Errors final : public pb::compiler::MultiFileErrorCollector {
 public:
  // Lines and columns come counted from 0; -1: the file as a whole.
  void AddError(const std::string& file, int line, int column, const std::string& message) override {
    if (!text.empty()) text += '\n';
    text += file;
    if (line >= 0) text += ':' + std::to_string(line + 1) + ':' + std::to_string(column + 1);
    text += ": " + message;
  }
  std::string text;
};

std::string scalar_text(const pb::Message& message, const pb::FieldDescriptor& field, int element) {
  const pb::Reflection& reflection = *message.GetReflection();
  const auto get = [&](auto one, auto repeated) {
    return element < 0 ? (reflection.*one)(message, &field) : (reflection.*repeated)(message, &field, element);
  };
  using R = pb::Reflection;
  switch (field.cpp_type()) {
    case pb::FieldDescriptor::CPPTYPE_INT32:
      return std::to_string(get(&R::GetInt32, &R::GetRepeatedInt32));
    case pb::FieldDescriptor::CPPTYPE_INT64:
      return std::to_string(get(&R::GetInt64, &R::GetRepeatedInt64));
    case pb::FieldDescriptor::CPPTYPE_UINT32:
      return std::to_string(get(&R::GetUInt32, &R::GetRepeatedUInt32));
    case pb::FieldDescriptor::CPPTYPE_UINT64:
      return std::to_string(get(&R::GetUInt64, &R::GetRepeatedUInt64));
    case pb::FieldDescriptor::CPPTYPE_BOOL:
      return get(&R::GetBool, &R::GetRepeatedBool) ? "true" : "false";
    case pb::FieldDescriptor::CPPTYPE_ENUM:
      return std::to_string(get(&R::GetEnumValue, &R::GetRepeatedEnumValue));
    case pb::FieldDescriptor::CPPTYPE_STRING:
      return get(&R::GetString, &R::GetRepeatedString);
    // The bits, which are the value: no text form of a floating point number is as exact.
    case pb::FieldDescriptor::CPPTYPE_FLOAT:
      return std::to_string(std::bit_cast<uint32_t>(get(&R::GetFloat, &R::GetRepeatedFloat)));
    case pb::FieldDescriptor::CPPTYPE_DOUBLE:
      return std::to_string(std::bit_cast<uint64_t>(get(&R::GetDouble, &R::GetRepeatedDouble)));
    case pb::FieldDescriptor::CPPTYPE_MESSAGE:
      break;
  }
  return {};
}

void append_by_value(const pb::Message& message, std::string& out) {
  pb::io::StringOutputStream stream(&out);
  pb::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  message.SerializePartialToCodedStream(&coded);
}

void append_sized(const std::string& value, std::string& out) {
  out += std::to_string(value.size()) + ':' + value;
}

void choose(Steps steps, const pb::Message& message, std::string& out);

void choose_element(Steps steps, const pb::Message& message, const pb::FieldDescriptor& field, int element,
                    std::string& out) {
  if (field.cpp_type() != pb::FieldDescriptor::CPPTYPE_MESSAGE) {
    if (steps.size() == 1) append_sized(scalar_text(message, field, element), out);
    return;
  }
  const pb::Reflection& reflection = *message.GetReflection();
  const pb::Message& inner =
      element < 0 ? reflection.GetMessage(message, &field) : reflection.GetRepeatedMessage(message, &field, element);
  if (steps.size() > 1) return choose(steps.subspan(1), inner, out);
  std::string value;
  append_by_value(inner, value);
  append_sized(value, out);
}

// In the order in which they count: entries of a map by their keys, since the wire has them in any order, and of a key
// that comes twice the last.
std::vector<int> elements_of(const pb::Message& message, const pb::FieldDescriptor& field) {
  const pb::Reflection& reflection = *message.GetReflection();
  std::vector<int> elements(static_cast<size_t>(reflection.FieldSize(message, &field)));
  std::iota(elements.begin(), elements.end(), 0);
  if (!field.is_map()) return elements;
  std::map<std::string, int> by_key;
  for (const int i : elements) {
    const pb::Message& entry = reflection.GetRepeatedMessage(message, &field, i);
    by_key[scalar_text(entry, *field.message_type()->map_key(), -1)] = i;
  }
  elements.clear();
  for (const auto& [key, i] : by_key) elements.push_back(i);
  return elements;
}

void choose(Steps steps, const pb::Message& message, std::string& out) {
  const auto& step = steps.front();
  const pb::FieldDescriptor* field = message.GetDescriptor()->FindFieldByName(step.name);
  if (field == nullptr) return;
  if (!field->is_repeated()) {
    if (step.element && *step.element != 0) return;
    if (field->has_presence() && !message.GetReflection()->HasField(message, field)) return;
    return choose_element(steps, message, *field, -1, out);
  }
  const std::vector<int> elements = elements_of(message, *field);
  for (size_t i = 0; i < elements.size(); ++i) {
    if (!step.element || *step.element == i) choose_element(steps, message, *field, elements[i], out);
  }
}

class DynamicMessage final : public DecodedMessage {
 public:
  explicit DynamicMessage(std::unique_ptr<pb::Message> message) : message_(std::move(message)) {}
  void append_fields(const FieldPath& path, std::string& out) const override { choose(path.steps, *message_, out); }

 private:
  std::unique_ptr<pb::Message> message_;
};

bool has_field(const pb::Descriptor& type, Steps steps) {
  const pb::FieldDescriptor* field = type.FindFieldByName(steps.front().name);
  if (field == nullptr) return false;
  if (steps.size() == 1) return true;
  return field->message_type() != nullptr && has_field(*field->message_type(), steps.subspan(1));
}

}  // namespace

struct Descriptors::Impl {
  Errors errors;
  pb::compiler::DiskSourceTree tree;
  pb::SimpleDescriptorDatabase sets;
  pb::DescriptorPoolDatabase well_known{*pb::DescriptorPool::generated_pool()};
  std::unique_ptr<pb::MergedDescriptorDatabase> others;  // what is no file below the root
  std::unique_ptr<pb::compiler::SourceTreeDescriptorDatabase> sources;
  std::unique_ptr<pb::DescriptorPool> pool;
  mutable std::unique_ptr<pb::DynamicMessageFactory> factory;  // locks inside
  std::vector<std::string> names;                              // of the listed files, as the pool knows them

  // Message types of the listed files' methods.
  template <class Each>
  void each_input(Each each) const {
    for (const std::string& name : names) {
      const pb::FileDescriptor* file = pool->FindFileByName(name);
      for (int s = 0; file != nullptr && s < file->service_count(); ++s) {
        for (int m = 0; m < file->service(s)->method_count(); ++m) each(*file->service(s)->method(m)->input_type());
      }
    }
  }
  // "/pkg.Service/Method"
  [[nodiscard]] const pb::Descriptor* input_of(std::string_view method) const {
    if (!method.starts_with('/')) return nullptr;
    std::string name(method.substr(1));
    const size_t slash = name.find('/');
    if (slash == std::string::npos) return nullptr;
    name[slash] = '.';
    const pb::MethodDescriptor* found = pool->FindMethodByName(name);
    return found == nullptr ? nullptr : found->input_type();
  }
  [[nodiscard]] std::unique_ptr<pb::Message> parse(std::string_view method, std::string_view bytes) const {
    const pb::Descriptor* type = input_of(method);
    if (type == nullptr || bytes.size() > INT32_MAX) return nullptr;
    std::unique_ptr<pb::Message> message(factory->GetPrototype(type)->New());
    // Partial: a proto2 message without a required field still says what it says.
    if (!message->ParsePartialFromArray(bytes.data(), static_cast<int>(bytes.size()))) return nullptr;
    return message;
  }

  Result<void> read_set(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    pb::FileDescriptorSet set;
    if (!set.ParseFromString(bytes) || set.file_size() == 0) {
      return fail(Code::InvalidConfig, path.string() +
                                           ": not a descriptor set; make one with protoc --include_imports "
                                           "--descriptor_set_out=FILE, or give the .proto");
    }
    for (const auto& one : set.file()) {
      names.push_back(one.name());
      if (!sets.Add(one)) return fail(Code::InvalidConfig, path.string() + ": " + one.name() + " is in it twice");
    }
    return {};
  }

  // Imports are looked for below `root`, as with protoc -I.
  Result<void> build(const std::vector<std::filesystem::path>& files, const std::filesystem::path& root) {
    tree.MapPath("", root.string());
    for (const auto& path : files) {
      std::error_code error;
      if (!std::filesystem::is_regular_file(path, error))
        return fail(Code::InvalidConfig, path.string() + ": no such file");
      if (path.extension() == ".proto") {
        names.push_back(path.lexically_relative(root).string());
      } else {
        TRY_VOID(read_set(path));
      }
    }
    others = std::make_unique<pb::MergedDescriptorDatabase>(&sets, &well_known);
    sources = std::make_unique<pb::compiler::SourceTreeDescriptorDatabase>(&tree, others.get());
    sources->RecordErrorsTo(&errors);
    pool = std::make_unique<pb::DescriptorPool>(sources.get(), sources->GetValidationErrorCollector());
    factory = std::make_unique<pb::DynamicMessageFactory>(pool.get());
    for (const std::string& name : names) {
      if (pool->FindFileByName(name) == nullptr && errors.text.empty()) errors.text = name + ": cannot be used";
    }
    if (!errors.text.empty()) return fail(Code::InvalidConfig, errors.text);
    return {};
  }
};

Descriptors::Descriptors(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Descriptors::~Descriptors() = default;

Result<std::unique_ptr<const Descriptors>> Descriptors::load(const std::vector<std::filesystem::path>& files) {
  // Imports are relative to a folder nobody told us: the file's own, or one above it. The first that works is it; when
  // none does, the errors of the file's own folder are the ones that make sense.
  std::error_code error;
  std::filesystem::path root = std::filesystem::absolute(files.front(), error).lexically_normal().parent_path();
  std::vector<std::filesystem::path> absolute;
  for (const auto& file : files) absolute.push_back(std::filesystem::absolute(file, error).lexically_normal());
  std::optional<Error> first;
  for (int level = 0; level < 16; ++level) {
    auto impl = std::make_unique<Impl>();
    const auto built = impl->build(absolute, root);
    if (built) return std::unique_ptr<const Descriptors>(new Descriptors(std::move(impl)));
    if (!first) first = built.error();
    if (root == root.parent_path()) break;
    root = root.parent_path();
  }
  return std::unexpected(std::move(*first));
}

Result<void> Descriptors::check(const FieldPath& path) const {
  bool found = false, any = false;
  impl_->each_input([&](const pb::Descriptor& type) {
    any = true;
    found = found || has_field(type, path.steps);
  });
  if (found) return {};
  if (!any) return fail(Code::InvalidConfig, "proto_files: " + impl_->names.front() + " " + std::string(kNoService));
  return fail(Code::InvalidConfig,
              "match_fields: no request message of a service in proto_files has the field '" + path.text + "'");
}

std::unique_ptr<DecodedMessage> Descriptors::decode(std::string_view method, std::string_view message) const {
  auto parsed = impl_->parse(method, message);
  if (parsed == nullptr) return nullptr;
  return std::make_unique<DynamicMessage>(std::move(parsed));
}

Decoded Descriptors::append_whole(std::string_view method, std::string_view message, std::string& out) const {
  const auto parsed = impl_->parse(method, message);
  if (parsed == nullptr) return Decoded::No;
  append_by_value(*parsed, out);
  return Decoded::Yes;
}

}  // namespace tapdeck::grpc
