// What the commands that ask a Control share: ask, then print. Thread: the command's.
#pragma once

#include <string>

#include "daemon/app/commands.h"
#include "daemon/app/open_control.h"
#include "daemon/app/output.h"
#include "daemon/app/printable.h"

namespace tapdeck::app {

inline Json parsed(const std::string& text) {
  return Json::parse(text, nullptr, /*allow_exceptions=*/false);
}

// Asks, then prints: JSON as it came, else by `print`.
template <class Ask, class Print>
int ask_and_print(const Common& common, const Streams& streams, ControlHandle& control, const std::string& what,
                  Ask ask, Print print) {
  if (!control.warning().empty()) streams.err << "tapdeck: " << printable_lines(control.warning()) << '\n';
  const Patience patience(streams, what);
  Result<admin::Json> result = ask(*control);
  if (!result) return print_error(common, streams, result.error());
  if (common.format == Format::Json) {
    streams.out << *result << (result->ends_with('\n') ? "" : "\n");
    return 0;
  }
  print(parsed(*result));
  return 0;
}

template <class Ask, class Print>
int answer(const Common& common, const Streams& streams, Need need, const std::string& what, Ask ask, Print print) {
  auto control = ControlHandle::open(common, need);
  if (!control) return print_error(common, streams, control.error());
  return ask_and_print(common, streams, *control, what, std::move(ask), std::move(print));
}

// A list, in columns or as JSON. An empty house is an empty list, not an error, for people and scripts alike.
template <class Ask>
int list(const Common& common, const Streams& streams, const std::string& what, std::initializer_list<Column> columns,
         Ask ask, Need need = Need::Read) {
  const auto config = config_for(common.config_file, config::NamedFiles::Any);
  // What else is wrong with it is said by open(), or goes with a daemon that runs.
  if (!config && config.error().code == Code::NotFound) return print_error(common, streams, config.error());
  auto control = ControlHandle::open(common, need);
  if (!control && control.error().code == Code::NotFound) {
    if (common.format == Format::Json) {
      streams.out << "{\"items\":[],\"next\":null}\n";
    } else {
      streams.err << "tapdeck: " << printable_lines(control.error().message()) << '\n';
    }
    return 0;
  }
  if (!control) return print_error(common, streams, control.error());
  return ask_and_print(common, streams, *control, what, std::move(ask), [&](const Json& page) {
    print_table(streams, page["items"], columns);
    if (page["next"].is_string()) streams.err << "more: add --cursor " << cell_of(page["next"]) << '\n';
  });
}

}  // namespace tapdeck::app
