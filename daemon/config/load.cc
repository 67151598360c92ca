// Reading the configuration file: its sections by the schema, and where in it something is wrong or doubtful.
#include <cerrno>
#include <fstream>

#include "daemon/config/table_reader.h"

namespace tapdeck::config {
namespace {

constexpr size_t kMaxFileBytes = 1 << 20;  // a larger file is not a configuration

// Walks the sections of the whole file.
class FileReader {
 public:
  FileReader(Problems& problems, const toml::table& root, const Base& base)
      : problems_(problems), root_(root), base_(base) {}

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
      const bool is_section = node.is_table() || node.is_array_of_tables();
      problems_.add(place_of(key), (is_section ? "unknown section " : "no key belongs before the first section: ") +
                                       in_quotes(key.str()) + did_you_mean(key.str(), known_));
    }
  }

 private:
  template <class T>
  void read(const toml::table& table, std::string title, T& out) {
    TableReader reader(problems_, table, std::move(title), base_);
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
  const Base& base_;
  std::vector<std::string_view> known_;
};

// "routes[1].websocket.ignore", or the nearest around it that is written.
Place place_in(const toml::table& root, std::string path) {
  while (true) {
    if (const toml::node* node = root.at_path(path).node()) return place_of(*node);
    const size_t dot = path.rfind('.');
    if (dot == std::string::npos) return place_of(root);
    path.resize(dot);
  }
}

Result<Config> read_text(std::string_view text, std::string_view file, const Base& base) {
  Problems problems(file);
  toml::parse_result parsed = toml::parse(text, file);
  if (!parsed) {
    const auto where = parsed.error().source().begin;
    problems.add({where.line, where.column}, std::string(parsed.error().description()));
    return fail(Code::InvalidConfig, problems.text());
  }
  const toml::table& root = parsed.table();
  Config config;
  FileReader reader(problems, root, base);
  visit_all(reader, config);
  reader.finish();
  for (const auto& [path, what] : contradictions(config)) problems.add(place_in(root, path), what);
  if (!problems.none()) return fail(Code::InvalidConfig, problems.text());
  Problems warnings(file);
  for (const auto& [path, what] : doubts(config)) warnings.add(place_in(root, path), "warning: " + what);
  config.warnings = warnings.lines();
  if (config.admin.listen == "off") config.admin.listen.clear();
  if (config.proxy.listen == "off") config.proxy.listen.clear();
  config.source = file;
  return config;
}

}  // namespace

Result<Config> parse(std::string_view text, std::string_view file, const std::filesystem::path& directory) {
  return read_text(text, file, Base{directory, NamedFiles::Any});
}

Result<Config> load(const std::filesystem::path& file, NamedFiles files) {
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
  return read_text(text, file.string(), Base{(error ? file : absolute).parent_path(), files});
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
