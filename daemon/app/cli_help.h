// What the command line says about itself: help of a subcommand, what a misspelt word was probably meant to be, and how
// a mistake is told. Thread: the main one.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "daemon/app/commands.h"

namespace CLI {
class App;
}

namespace tapdeck::app {

// Head and foot of `tapdeck --help`.
inline constexpr const char* kAbout =
    "tapdeck records and replays the network traffic of containers and processes\n"
    "without touching their configuration.";
inline constexpr const char* kExamples = R"(Examples:
  tapdeck run --session shop -- curl https://api.example.com/items     record one command
  tapdeck run --session shop --mode replay -- curl https://...         the same answer, origin not needed
  tapdeck run --session shop --mode replay --sealed --fail-on-miss -- make test
  tapdeck serve                                                        the daemon (systemctl start tapdeck)
  tapdeck attach --container web --session shop                        capture a running container
  tapdeck recording list --session shop                                what was recorded
  tapdeck doctor                                                       what this host can do
Exit status: 0 done, 1 failed (stderr says why; as JSON with --json), 2 a mistake on the command line.
`run`: the command's; 125 our own failure or mistake, 126 not executable, 127 not found.
`tapdeck SUBCOMMAND --help` explains each.)";

// The subcommand that parsing reached.
[[nodiscard]] const CLI::App* deepest(const CLI::App* app);
// "tapdeck session list".
[[nodiscard]] std::string path_of(const CLI::App* app);
// "unknown flag '--sesion' for tapdeck run; did you mean '--session'? (tapdeck run --help)".
[[nodiscard]] std::string explain_unknown(const CLI::App* at, const std::string& word);
// Usage, options and examples, under the full name that is typed.
[[nodiscard]] std::string help_of(const CLI::App* app);

// Says so on `err`. Returns the exit status of a mistake on the command line.
[[nodiscard]] int usage_error(const CLI::App& app, const Streams& streams, Format format, const std::string& text);

// What is wrong with a subcommand that does not exist, though --help was asked for; nullopt: nothing.
[[nodiscard]] std::optional<std::string> unknown_word(const CLI::App& app);
// `tapdeck --json status`, `tapdeck --verson`: what CLI11 says of it would mislead. nullopt: it may stand there.
[[nodiscard]] std::optional<std::string> misplaced_flag(const CLI::App& app, const std::string& first);
// What is wrong with a value that may not be empty, and with one that is a mode; empty: nothing.
[[nodiscard]] std::string not_empty_check(const std::string& text);
[[nodiscard]] std::string mode_check(const std::string& text);
// What is wrong with it as the value of --fail-on-miss; empty: nothing.
[[nodiscard]] std::string exit_status_check(const std::string& text);
// The "5" of `--fail-on-miss 5`, which is taken for the command then; nullopt: nothing is written so.
[[nodiscard]] std::optional<std::string> status_apart(const std::vector<std::string>& arguments);

}  // namespace tapdeck::app
