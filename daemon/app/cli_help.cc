#include "daemon/app/cli_help.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <ostream>
#include <string_view>
#include <system_error>
#include <vector>

#include "daemon/app/child.h"
#include "daemon/app/cli.h"
#include "daemon/app/output.h"
#include "daemon/base/nearest.h"
#include "daemon/base/vocabulary.h"

namespace tapdeck::app {
namespace {

void replace(std::string& text, std::string_view from, std::string_view to) {
  if (const size_t at = text.find(from); at != std::string::npos) text.replace(at, from.size(), to);
}

// Those that have a long name, of all subcommands below `at`.
void add_flags_of(const CLI::App& at, std::vector<std::string>& names) {
  for (const CLI::App* sub : at.get_subcommands([](const CLI::App*) { return true; })) {
    for (const CLI::Option* option : sub->get_options()) {
      for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    }
    add_flags_of(*sub, names);
  }
}

}  // namespace

const CLI::App* deepest(const CLI::App* app) {
  while (!app->get_subcommands().empty()) app = app->get_subcommands().front();
  return app;
}

std::string path_of(const CLI::App* app) {
  return app->get_parent() == nullptr ? "tapdeck" : path_of(app->get_parent()) + " " + app->get_name();
}

std::string explain_unknown(const CLI::App* at, const std::string& word) {
  std::vector<std::string> known;
  const bool flag = word.starts_with('-');
  if (flag) {
    for (const CLI::Option* option : at->get_options()) {
      for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
    }
    for (const CLI::App* part : at->get_subcommands([](const CLI::App* s) { return s->get_name().empty(); })) {
      for (const CLI::Option* option : part->get_options()) {
        for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
      }
    }
  } else {
    for (const CLI::App* sub : at->get_subcommands([](const CLI::App*) { return true; }))
      known.push_back(sub->get_name());
  }
  const std::string given = word.substr(0, word.find('='));
  const std::string near(nearest(given, known));
  if (flag && near == given) {
    return "flag '" + given + "' belongs behind '" + path_of(at) + "': " + path_of(at) + " " + given;
  }
  return "unknown " +
         std::string(flag            ? "flag"
                     : known.empty() ? "argument"
                                     : "subcommand") +
         " '" + given + "' for " + path_of(at) + (near.empty() ? "" : "; did you mean '" + near + "'?") + " (" +
         path_of(at) + " --help)";
}

std::optional<std::string> unknown_word(const CLI::App& app) {
  const CLI::App* at = deepest(&app);
  const bool is_group = !at->get_subcommands([](const CLI::App* sub) { return !sub->get_name().empty(); }).empty();
  if (!is_group) return std::nullopt;
  for (const std::string& word : app.remaining(true)) {
    if (!word.starts_with('-')) return explain_unknown(at, word);
  }
  return std::nullopt;
}

std::optional<std::string> misplaced_flag(const CLI::App& app, const std::string& first) {
  const std::string name = first.substr(0, first.find('='));
  const std::vector<std::string> own = {"--version", "--help"};
  if (!first.starts_with('-') || first == "-h" || std::ranges::find(own, name) != own.end()) return std::nullopt;
  const std::string unknown = "unknown flag '" + name + "' for tapdeck";
  std::vector<std::string> known = own;
  add_flags_of(app, known);
  const std::string near(nearest(name, known));
  const bool is_own = std::ranges::find(own, near) != own.end();
  if (near == name)
    return unknown + "; flags are written behind the subcommand: tapdeck SUBCOMMAND " + name + " (tapdeck --help)";
  if (near.empty()) return unknown + " (tapdeck --help)";
  return unknown + "; did you mean '" + near + (is_own ? "'?" : "', which is written behind the subcommand?") +
         " (tapdeck --help)";
}

std::string not_empty_check(const std::string& text) {
  return text.empty() ? "must not be empty" : "";
}

std::string mode_check(const std::string& text) {
  if (parse_mode(text)) return "";
  constexpr std::array<std::string_view, 4> kNames = {"record", "replay", "hybrid", "passthrough"};
  const std::string_view near = nearest(text, kNames);
  return "'" + text + "' is not a mode; it is one of record, replay, hybrid (passthrough-cache), passthrough" +
         (near.empty() ? "" : "; did you mean '" + std::string(near) + "'?");
}

std::string exit_status_check(const std::string& text) {
  int status = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), status);
  const bool is_one = error == std::errc() && end == text.data() + text.size() && status >= 1 && status <= 255;
  return is_one ? "" : "'" + text + "' is not an exit status of 1 to 255, as in --fail-on-miss=5";
}

std::optional<std::string> status_apart(const std::vector<std::string>& arguments) {
  const auto flag = std::ranges::find(arguments, "--fail-on-miss");
  if (flag == arguments.end() || flag + 1 == arguments.end()) return std::nullopt;
  return exit_status_check(flag[1]).empty() ? std::optional(flag[1]) : std::nullopt;
}

int usage_error(const CLI::App& app, const Streams& streams, Format format, const std::string& text) {
  if (format == Format::Json) {
    const Error error{.code = Code::InvalidArgument, .detail = text};
    ignore(print_error({.config_file = {}, .state_dir = {}, .format = format}, streams, error), "the status is ours");
  } else {
    streams.err << "tapdeck: " << text << '\n';
  }
  // `run` keeps 2 for the command it runs.
  const auto subcommands = app.get_subcommands();
  const bool run = !subcommands.empty() && subcommands.front()->get_name() == "run";
  return run ? kExitOurFailure : kExitUsage;
}

std::string help_of(const CLI::App* app) {
  const CLI::App* parent = app->get_parent();
  std::string text = app->help(parent == nullptr ? "" : path_of(parent));
  // CLI11 knows neither a command behind "--" nor how we write a flag's optional value.
  if (path_of(app) == "tapdeck run") replace(text, "[OPTIONS]", "[OPTIONS] -- CMD [ARG...]");
  replace(text, "--fail-on-miss{3}", "--fail-on-miss[=3]");
  return text;
}

}  // namespace tapdeck::app
