#include "daemon/app/output.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <ostream>
#include <vector>

#include "daemon/app/next_step.h"
#include "daemon/app/printable.h"

namespace tapdeck::app {

std::string cell_of(const Json& value) {
  if (value.is_null()) return "-";
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_number_float()) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f", value.get<double>());
    return text;
  }
  if (!value.is_string()) return dump(value);
  std::string out = printable(value.get<std::string>());
  return out.empty() ? "-" : out;
}

void print_table(const Streams& streams, const Json& items, std::initializer_list<Column> columns) {
  std::vector<std::vector<std::string>> rows;
  const bool aligned = streams.terminal == Terminal::Yes;
  if (aligned) {
    for (auto& titles = rows.emplace_back(); const Column& column : columns) titles.emplace_back(column.title);
  }
  for (const Json& item : items) {
    auto& row = rows.emplace_back();
    for (const Column& column : columns) {
      const auto found = item.find(std::string(column.key));
      row.push_back(found == item.end() ? "-" : cell_of(*found));
    }
  }
  std::vector<size_t> widths(columns.size());
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      streams.out << row[i];
      if (i + 1 == row.size()) break;
      streams.out << (aligned ? std::string(widths[i] - row[i].size() + 2, ' ') : "\t");
    }
    streams.out << '\n';
  }
}

void print_fields(const Streams& streams, const Json& object) {
  size_t width = 0;
  for (const auto& [key, value] : object.items()) width = std::max(width, key.size());
  for (const auto& [key, value] : object.items()) {
    streams.out << key << std::string(width - key.size() + 2, ' ') << cell_of(value) << '\n';
  }
}

int print_error(const Common& common, const Streams& streams, const Error& error) {
  if (common.format == Format::Json) {
    streams.err << dump({{"error", to_string(error.code)}, {"detail", error.message()}, {"next", next_step(error)}})
                << '\n';
  } else {
    streams.err << "tapdeck: " << printable_lines(with_next_step(error)) << '\n';
  }
  return 1;
}

std::string place_flags(const Common& common) {
  std::string out;
  if (!common.config_file.empty()) out += " --config " + common.config_file.string();
  if (!common.state_dir.empty()) out += " --state-dir " + common.state_dir.string();
  return out;
}

Patience::Patience(const Streams& streams, std::string what) {
  using namespace std::chrono_literals;
  const auto begun = std::chrono::steady_clock::now();
  const auto started = telling_.start("patience", 2s, [begun, &err = streams.err, text = std::move(what)] {
    const auto waited = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - begun);
    err << "tapdeck: " << text << " (" << waited.count() << " s)" << std::endl;
    return std::optional<std::chrono::milliseconds>(5s);
  });
  ignore(started, "it is waited for in silence");
}

}  // namespace tapdeck::app
