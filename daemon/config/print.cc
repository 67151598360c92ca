// to_toml: the schema's other visitor.
#include "daemon/base/json_text.h"
#include "daemon/base/units.h"
#include "daemon/config/schema.h"

namespace tapdeck::config {
namespace {

class Printer {
 public:
  template <class T>
  void section(std::string_view name, T& value) {
    out_ += (out_.empty() ? "[" : "\n[") + std::string(name) + "]\n";
    section_ = name;
    visit(*this, value);
  }
  template <class T>
  void array(std::string_view name, std::vector<T>& values) {
    for (T& value : values) {
      out_ += "\n[[" + std::string(name) + "]]\n";
      section_ = name;
      visit(*this, value);
    }
  }

  void integer(std::string_view key, uint64_t value, uint64_t, uint64_t) { line(key, std::to_string(value)); }
  template <class T>
  void maybe_integer(std::string_view key, const std::optional<T>& value, uint64_t, uint64_t) {
    if (value) line(key, std::to_string(*value));
  }
  void size(std::string_view key, uint64_t value, uint64_t, uint64_t) { line(key, quote(format_size(value))); }
  void duration(std::string_view key, std::chrono::nanoseconds value, std::chrono::nanoseconds,
                std::chrono::nanoseconds) {
    line(key, quote(format_duration(value)));
  }
  void boolean(std::string_view key, bool value) { line(key, value ? "true" : "false"); }
  void maybe_boolean(std::string_view key, const std::optional<bool>& value) {
    if (value) boolean(key, *value);
  }
  // An empty text means "not given" everywhere but for admin.listen, where it is written as the word that gives it.
  void text(std::string_view key, const std::string& value, Check check) {
    if (!value.empty()) line(key, quote(value));
    if (value.empty() && check == check_listen) line(key, "\"off\"");
  }
  void maybe_text(std::string_view key, const std::optional<std::string>& value, Check) {
    if (value) line(key, quote(*value));
  }
  void texts(std::string_view key, const std::vector<std::string>& values, Check) {
    std::string list;
    for (const std::string& value : values) list += (list.empty() ? "" : ", ") + quote(value);
    line(key, "[" + list + "]");
  }
  void path(std::string_view key, const std::filesystem::path& value, Check = nullptr) {
    if (!value.empty()) line(key, quote(value.string()));
  }
  void paths(std::string_view key, const std::vector<std::filesystem::path>& values) {
    std::vector<std::string> texts_of;
    for (const auto& value : values) texts_of.push_back(value.string());
    texts(key, texts_of, check_any);
  }
  template <class E, size_t n>
  void choice(std::string_view key, E value, const std::array<Word<E>, n>& words) {
    line(key, quote(word_of(words, value)));
  }
  template <class E, size_t n>
  void maybe_choice(std::string_view key, const std::optional<E>& value, const std::array<Word<E>, n>& words) {
    if (value) choice(key, *value, words);
  }
  // Belongs to the section or the last array element printed, so it must be visited after that one's plain keys.
  template <class T>
  void table(std::string_view key, std::optional<T>& value) {
    if (!value) return;
    const std::string outer = section_;
    section_ += '.' + std::string(key);
    out_ += "\n[" + section_ + "]\n";
    visit(*this, *value);
    section_ = outer;
  }
  void selector(const Target& target) { line(word_of(kTargetKinds, target.kind), quote(target.selector)); }

  std::string take() { return std::move(out_); }

 private:
  // TOML basic strings take the escapes of JSON strings, except that DEL must be escaped, which we do.
  static std::string quote(std::string_view text) {
    std::string out;
    append_json_string(out, text);
    return out;
  }
  void line(std::string_view key, const std::string& value) { out_ += std::string(key) + " = " + value + "\n"; }

  std::string out_;
  std::string section_;
};

}  // namespace

std::string to_toml(const Config& config) {
  Config copy = config;  // the schema visits by reference for its other visitor, which writes
  Printer printer;
  visit_all(printer, copy);
  return printer.take();
}

}  // namespace tapdeck::config
