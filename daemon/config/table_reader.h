// TableReader: the schema's visitor that reads one TOML table. Internal to load.cc, the one file that sees the parser.
// Thread: any.
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <expected>

#include "daemon/base/nearest.h"
#include "daemon/base/units.h"
#include "daemon/config/config.h"
#include "daemon/config/problems.h"
#include "daemon/config/schema.h"
#include "daemon/config/toml.h"

namespace tapdeck::config {

[[nodiscard]] inline Place place_of(const toml::node& node) {
  return {node.source().begin.line, node.source().begin.column};
}
[[nodiscard]] inline Place place_of(const toml::key& key) {
  return {key.source().begin.line, key.source().begin.column};
}

// What relative paths are relative to.
struct Base {
  std::filesystem::path directory;
  NamedFiles files = NamedFiles::Any;
};

// Reads one table by the schema; keys that the schema did not ask for are unknown.
class TableReader {
 public:
  TableReader(Problems& problems, const toml::table& table, std::string section, const Base& base)
      : problems_(problems), table_(table), section_(std::move(section)), base_(base) {}

  template <std::unsigned_integral T>
  void integer(std::string_view key, T& out, uint64_t min, uint64_t max) {
    const toml::node* node = find(key);
    if (node == nullptr) return;
    const auto value = node->value_exact<int64_t>();
    if (!value || *value < 0 || static_cast<uint64_t>(*value) < min || static_cast<uint64_t>(*value) > max) {
      return wrong(key, *node, "must be a whole number from " + std::to_string(min) + " to " + std::to_string(max));
    }
    out = static_cast<T>(*value);
  }
  template <class T>
  void maybe_integer(std::string_view key, std::optional<T>& out, uint64_t min, uint64_t max) {
    T value{};
    if (find(key) == nullptr) return;
    integer(key, value, min, max);
    out = value;
  }

  void size(std::string_view key, uint64_t& out, uint64_t min, uint64_t max) {
    const toml::node* node = find(key);
    if (node == nullptr) return;
    std::optional<uint64_t> value;
    if (const auto bytes = node->value_exact<int64_t>(); bytes && *bytes >= 0) value = static_cast<uint64_t>(*bytes);
    if (const auto text = node->value_exact<std::string_view>()) {
      const auto parsed = parse_size(*text);
      if (!parsed) return wrong(key, *node, parsed.error().detail);
      value = *parsed;
    }
    if (!value) return wrong(key, *node, "must be a size with unit, for example \"1MiB\", or bytes");
    if (*value < min || *value > max) {
      return wrong(key, *node,
                   "must be from " + format_size(min) + (max == kNoMax ? " up" : " to " + format_size(max)));
    }
    out = *value;
  }

  template <class Duration>
  void duration(std::string_view key, Duration& out, std::chrono::nanoseconds min, std::chrono::nanoseconds max) {
    const toml::node* node = find(key);
    if (node == nullptr) return;
    const auto text = node->value_exact<std::string_view>();
    if (!text) return wrong(key, *node, "must be a duration with unit, for example \"10s\"");
    const auto value = parse_duration(*text);
    if (!value) return wrong(key, *node, value.error().detail);
    if (*value < min || *value > max) {
      return wrong(key, *node, "must be from " + format_duration(min) + " to " + format_duration(max));
    }
    const auto rounded = std::chrono::duration_cast<Duration>(*value);
    if (rounded != *value)
      return wrong(key, *node, "is finer than the " + format_duration(Duration(1)) + " it is kept in");
    out = rounded;
  }

  void boolean(std::string_view key, bool& out) {
    const toml::node* node = find(key);
    if (node == nullptr) return;
    const auto value = node->value_exact<bool>();
    if (!value) return wrong(key, *node, "must be true or false");
    out = *value;
  }
  void maybe_boolean(std::string_view key, std::optional<bool>& out) {
    bool value = false;
    if (find(key) == nullptr) return;
    boolean(key, value);
    out = value;
  }

  void text(std::string_view key, std::string& out, Check check) {
    const toml::node* node = find(key);
    if (node == nullptr) return;
    const auto value = node->value_exact<std::string>();
    if (!value) return wrong(key, *node, "must be a string");
    if (const auto problem = check(*value)) return wrong(key, *node, *problem);
    out = *value;
  }
  void maybe_text(std::string_view key, std::optional<std::string>& out, Check check) {
    std::string value;
    if (find(key) == nullptr) return;
    text(key, value, check);
    out = value;
  }
  void texts(std::string_view key, std::vector<std::string>& out, Check check) {
    list(key, out, [check](const std::string& value) -> std::expected<std::string, std::string> {
      if (auto problem = check(value)) return std::unexpected(std::move(*problem));
      return value;
    });
  }

  // `check` sees the path with its directory.
  void path(std::string_view key, std::filesystem::path& out, Check check = check_any) {
    std::string value;
    text(key, value, check_any);
    if (value.empty()) return;
    std::filesystem::path whole = resolve(value);
    if (const auto problem = check(whole.string())) return wrong(key, *find(key), *problem);
    out = std::move(whole);
  }
  // Of files that are read at start.
  void paths(std::string_view key, std::vector<std::filesystem::path>& out) {
    list(key, out, [this](const std::string& value) -> std::expected<std::filesystem::path, std::string> {
      if (auto problem = check_any(value)) return std::unexpected(std::move(*problem));
      std::filesystem::path whole = resolve(value);
      if (auto problem = trouble_with_file(whole)) return std::unexpected(std::move(*problem));
      return whole;
    });
  }

  template <class E, size_t n>
  void choice(std::string_view key, E& out, const std::array<Word<E>, n>& words) {
    const toml::node* node = find(key);
    if (node == nullptr) return;
    const auto value = node->value_exact<std::string_view>();
    for (const auto& word : words) {
      if (value && *value == word.text) {
        out = word.value;
        return;
      }
    }
    std::string all;
    std::vector<std::string_view> names;
    for (const auto& word : words) {
      all += (all.empty() ? "\"" : ", \"") + std::string(word.text) + "\"";
      names.push_back(word.text);
    }
    const std::string_view near = value ? nearest(*value, names) : std::string_view();
    wrong(key, *node, "must be one of " + all + (near.empty() ? "" : " (did you mean \"" + std::string(near) + "\"?)"));
  }
  template <class E, size_t n>
  void maybe_choice(std::string_view key, std::optional<E>& out, const std::array<Word<E>, n>& words) {
    E value = words[0].value;
    if (find(key) == nullptr) return;
    choice(key, value, words);
    out = value;
  }

  // A table in this one, [routes.streaming]; `out` is set when it is there, also when it is empty.
  template <class T>
  void table(std::string_view key, std::optional<T>& out) {
    const toml::node* node = find(key);
    if (node == nullptr) return;
    const toml::table* inner = node->as_table();
    if (inner == nullptr) return wrong(key, *node, "is a table of its own: write " + inner_title(key));
    TableReader reader(problems_, *inner, inner_title(key), base_);
    visit(reader, out.emplace());
    reader.finish();
  }

  // container = "web" and its siblings: exactly one.
  void selector(Target& target) {
    int given = 0;
    for (const auto& kind : kTargetKinds) {
      const toml::node* node = find(kind.text);
      if (node == nullptr) continue;
      ++given;
      target.kind = kind.value;
      if (kind.value == TargetKind::Pid && node->is_integer()) {
        const int64_t pid = node->value_or<int64_t>(0);
        if (pid < 1) return wrong(kind.text, *node, "must be a process id");
        target.selector = std::to_string(pid);
      } else {
        text(kind.text, target.selector, check_of(kind.value));
      }
    }
    if (given == 1) return;
    problems_.add(place_of(table_), "a target needs exactly one of container, unit, cgroup, interface, pid; " +
                                        std::to_string(given) + " are given");
  }

  void finish() {
    for (const auto& [key, node] : table_) {
      if (std::ranges::find(known_, key.str()) != known_.end()) continue;
      problems_.add(place_of(key),
                    "unknown key " + in_quotes(key.str()) + " in " + section_ + did_you_mean(key.str(), known_));
    }
  }

 private:
  const toml::node* find(std::string_view key) {
    if (std::ranges::find(known_, key) == known_.end()) known_.push_back(key);
    return table_.get(key);
  }
  template <class T, class Make>
  void list(std::string_view key, std::vector<T>& out, Make make) {
    const toml::node* node = find(key);
    if (node == nullptr) return;
    const toml::array* items = node->as_array();
    if (items == nullptr) return wrong(key, *node, "must be a list of strings");
    out.clear();
    for (const toml::node& item : *items) {
      const auto value = item.value_exact<std::string>();
      auto made = value ? make(*value) : std::unexpected(std::string("must be a string"));
      if (made) {
        out.push_back(std::move(*made));
      } else {
        wrong(key, item, made.error());
      }
    }
  }
  void wrong(std::string_view key, const toml::node& node, const std::string& what) {
    problems_.add(place_of(node), std::string(key) + " in " + section_ + ": " + what);
  }
  // "[[routes]]" and "streaming": "[routes.streaming]".
  [[nodiscard]] std::string inner_title(std::string_view key) const {
    const size_t brackets = section_.starts_with("[[") ? 2 : 1;
    return '[' + section_.substr(brackets, section_.size() - 2 * brackets) + '.' + std::string(key) + ']';
  }
  [[nodiscard]] std::filesystem::path resolve(const std::string& value) const {
    const std::filesystem::path given(value);
    return given.is_absolute() ? given : (base_.directory / given).lexically_normal();
  }
  // One that may not be looked at is not held against who asks: it may well be there for those who read it.
  [[nodiscard]] std::optional<std::string> trouble_with_file(const std::filesystem::path& file) const {
    if (base_.files == NamedFiles::Any) return std::nullopt;
    std::error_code error;
    const auto status = std::filesystem::status(file, error);
    if (status.type() == std::filesystem::file_type::not_found) return "there is no file " + file.string();
    if (std::filesystem::is_directory(status)) return file.string() + " is a directory, not a file";
    return std::nullopt;
  }
  [[nodiscard]] static Check check_of(TargetKind kind) {
    if (kind == TargetKind::Pid) return check_pid;
    if (kind == TargetKind::Unit) return check_unit;
    return kind == TargetKind::Interface ? check_interface : check_any;
  }

  Problems& problems_;
  const toml::table& table_;
  std::string section_;
  const Base& base_;
  std::vector<std::string_view> known_;
};

}  // namespace tapdeck::config
