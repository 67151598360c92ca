#define TOML_EXCEPTIONS 0
// What the parser asserts of a table header is not so for `[$x]` (toml++ 3.3). Left alone it goes on, and says where a
// key should have begun; load_fuzz keeps an eye on the rest.
#define TOML_ASSERT(expression) static_cast<void>(0)
#include <toml++/toml.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <concepts>
#include <fstream>

#include "daemon/base/units.h"
#include "daemon/config/problems.h"
#include "daemon/config/schema.h"

namespace tapdeck::config {
namespace {

constexpr size_t kMaxFileBytes = 1 << 20;  // a larger file is not a configuration

Place place_of(const toml::node& node) {
  return {node.source().begin.line, node.source().begin.column};
}
Place place_of(const toml::key& key) {
  return {key.source().begin.line, key.source().begin.column};
}

// Reads one table by the schema; keys that the schema did not ask for are unknown.
class TableReader {
 public:
  TableReader(Problems& problems, const toml::table& table, std::string section, const std::filesystem::path& directory)
      : problems_(problems), table_(table), section_(std::move(section)), directory_(directory) {}

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
    const toml::node* node = find(key);
    if (node == nullptr) return;
    const toml::array* list = node->as_array();
    if (list == nullptr) return wrong(key, *node, "must be a list of strings");
    out.clear();
    for (const toml::node& item : *list) {
      const auto value = item.value_exact<std::string>();
      const auto problem = value ? check(*value) : "must be a string";
      if (problem) {
        wrong(key, item, *problem);
      } else {
        out.push_back(*value);
      }
    }
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
  void paths(std::string_view key, std::vector<std::filesystem::path>& out) {
    std::vector<std::string> values;
    if (find(key) == nullptr) return;
    texts(key, values, check_any);
    out.clear();
    for (const std::string& value : values) out.push_back(resolve(value));
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
    TableReader reader(problems_, *inner, inner_title(key), directory_);
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
        text(kind.text, target.selector, kind.value == TargetKind::Pid ? check_pid : check_any);
      }
    }
    if (given == 1) return;
    problems_.add(place_of(table_), "a target needs exactly one of container, unit, cgroup, interface, pid; " +
                                        std::to_string(given) + " are given");
  }

  void finish() {
    for (const auto& [key, node] : table_) {
      if (std::ranges::find(known_, key.str()) != known_.end()) continue;
      const std::string_view near = nearest(key.str(), known_);
      problems_.add(place_of(key), "unknown key " + in_quotes(key.str()) + " in " + section_ +
                                       (near.empty() ? "" : "; did you mean " + in_quotes(near) + "?"));
    }
  }

 private:
  const toml::node* find(std::string_view key) {
    if (std::ranges::find(known_, key) == known_.end()) known_.push_back(key);
    return table_.get(key);
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
    return given.is_absolute() ? given : (directory_ / given).lexically_normal();
  }

  Problems& problems_;
  const toml::table& table_;
  std::string section_;
  const std::filesystem::path& directory_;
  std::vector<std::string_view> known_;
};

// Walks the sections of the whole file.
class FileReader {
 public:
  FileReader(Problems& problems, const toml::table& root, const std::filesystem::path& directory)
      : problems_(problems), root_(root), directory_(directory) {}

  template <class T>
  void section(std::string_view name, T& out) {
    known_.push_back(name);
    const toml::node* node = root_.get(name);
    if (node == nullptr) return;
    const toml::table* table = node->as_table();
    if (table == nullptr)
      return problems_.add(place_of(*node), in_quotes(name) + " is a section: write [" + std::string(name) + "]");
    read(*table, "[" + std::string(name) + "]", out);
  }

  template <class T>
  void array(std::string_view name, std::vector<T>& out) {
    known_.push_back(name);
    const toml::node* node = root_.get(name);
    if (node == nullptr) return;
    const toml::array* list = node->as_array();
    const std::string title = "[[" + std::string(name) + "]]";
    if (list == nullptr)
      return problems_.add(place_of(*node), in_quotes(name) + " is a list of sections: write " + title);
    for (const toml::node& item : *list) {
      const toml::table* table = item.as_table();
      if (table == nullptr) {
        problems_.add(place_of(item), in_quotes(name) + " is a list of sections: write " + title);
        continue;
      }
      read(*table, title, out.emplace_back());
      blame(*table, take_in(out));
    }
  }

  void finish() {
    for (const auto& [key, node] : root_) {
      if (std::ranges::find(known_, key.str()) != known_.end()) continue;
      const std::string_view near = nearest(key.str(), known_);
      const bool is_section = node.is_table() || node.is_array_of_tables();
      problems_.add(place_of(key), (is_section ? "unknown section " : "no key belongs before the first section: ") +
                                       in_quotes(key.str()) +
                                       (near.empty() ? "" : "; did you mean " + in_quotes(near) + "?"));
    }
  }

 private:
  template <class T>
  void read(const toml::table& table, std::string title, T& out) {
    TableReader reader(problems_, table, std::move(title), directory_);
    visit(reader, out);
    reader.finish();
    blame(table, broken_rules(out));
  }
  void blame(const toml::table& table, const std::vector<Broken>& all) {
    for (const auto& [key, what] : all) {
      const toml::node* node = table.get(key);
      problems_.add(place_of(node != nullptr ? *node : table), what);
    }
  }

  Problems& problems_;
  const toml::table& root_;
  const std::filesystem::path& directory_;
  std::vector<std::string_view> known_;
};

}  // namespace

Result<Config> parse(std::string_view text, std::string_view file, const std::filesystem::path& directory) {
  Problems problems(file);
  toml::parse_result parsed = toml::parse(text, file);
  if (!parsed) {
    const auto where = parsed.error().source().begin;
    problems.add({where.line, where.column}, std::string(parsed.error().description()));
    return fail(Code::InvalidConfig, problems.text());
  }
  Config config;
  FileReader reader(problems, parsed.table(), directory);
  visit_all(reader, config);
  reader.finish();
  if (!problems.none()) return fail(Code::InvalidConfig, problems.text());
  for (const auto& [route, doubt] : doubts(config)) {
    const toml::node* node = parsed.table()["routes"][route][doubt.key].node();
    config.warnings.push_back(at(file, place_of(*node), "warning: " + doubt.what));
  }
  for (size_t i = 0; i < config.redact.query.size(); ++i) {
    const toml::node* node = parsed.table()["redact"]["query"][i].node();
    const auto doubt = doubt_of_parameter(config.redact.query[i]);
    if (!doubt || node == nullptr) continue;
    config.warnings.push_back(at(file, place_of(*node), "warning: query in [redact]: " + *doubt));
  }
  if (config.admin.listen == "off") config.admin.listen.clear();
  if (config.proxy.listen == "off") config.proxy.listen.clear();
  config.source = file;
  return config;
}

Result<Config> load(const std::filesystem::path& file) {
  std::error_code error;
  const auto status = std::filesystem::status(file, error);
  if (error) return fail_errno(error.value(), "read configuration " + file.string());
  if (!std::filesystem::is_regular_file(status)) return fail(Code::Io, file.string() + " is not a regular file");
  errno = 0;
  std::ifstream in(file, std::ios::binary);
  if (!in) return fail_errno(errno != 0 ? errno : EIO, "read configuration " + file.string());
  std::string text(kMaxFileBytes + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(in.gcount()));
  if (in.bad()) return fail(Code::Io, "read configuration " + file.string());
  if (text.size() > kMaxFileBytes)
    return fail(Code::TooLarge, file.string() + " is larger than 1 MiB: not a configuration");
  const auto absolute = std::filesystem::absolute(file, error);
  return parse(text, file.string(), (error ? file : absolute).parent_path());
}

std::string_view to_string(Durability value) {
  return word_of(kDurability, value);
}
std::string_view to_string(Repeat value) {
  return word_of(kRepeat, value);
}
std::string_view to_string(TargetKind value) {
  return word_of(kTargetKinds, value);
}
std::string_view to_string(OnLease value) {
  return word_of(kOnLease, value);
}
std::string_view to_string(OnMiss value) {
  return word_of(kOnMiss, value);
}

OnLease lease_policy(const Capture& capture, Mode mode) {
  return capture.on_lease.value_or(mode == Mode::Replay ? OnLease::Closed : OnLease::Open);
}

}  // namespace tapdeck::config
