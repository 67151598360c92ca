// What the command line says about itself: help of a subcommand, and what a misspelt word was probably meant to be.
// Thread: the main one.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace tapdeck::app {

// The subcommand that parsing reached.
[[nodiscard]] const CLI::App* deepest(const CLI::App* app);
// "tapdeck session list".
[[nodiscard]] std::string path_of(const CLI::App* app);
// "unknown flag '--sesion' for tapdeck run; did you mean '--session'? (tapdeck run --help)".
[[nodiscard]] std::string explain_unknown(const CLI::App* at, const std::string& word);
// Usage, options and examples, under the full name that is typed.
[[nodiscard]] std::string help_of(const CLI::App* app);

// What is wrong with a subcommand that does not exist, though --help was asked for; nullopt: nothing.
[[nodiscard]] std::optional<std::string> unknown_word(const CLI::App& app);
// `tapdeck --json status`: what CLI11 says of it would mislead. nullopt: it may stand there.
[[nodiscard]] std::optional<std::string> misplaced_flag(const std::string& first);
// What is wrong with it as the value of --fail-on-miss; empty: nothing.
[[nodiscard]] std::string exit_status_check(const std::string& text);
// The "5" of `--fail-on-miss 5`, which is taken for the command then; nullopt: nothing is written so.
[[nodiscard]] std::optional<std::string> status_apart(const std::vector<std::string>& arguments);

}  // namespace tapdeck::app
