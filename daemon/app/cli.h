// The command line: what each subcommand and flag is called, what it says about itself, and which function it calls.
//
// No work is done here: run_command, serve and the functions of commands.h do it. Thread: the main one.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "daemon/app/commands.h"
#include "daemon/app/run_command.h"
#include "daemon/app/serve.h"

namespace tapdeck::app {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;
inline constexpr int kExitUsage = 2;

// The two subcommands that are programs of their own; tests replace them.
struct Programs {
  std::function<int(const RunOptions&)> run;
  std::function<int(const ServeOptions&)> serve;
};

// argv without the program name. Errors and help go to `out` and `err`. Returns the exit status.
[[nodiscard]] int run_cli(std::vector<std::string> arguments, const Programs& programs, Streams streams);

}  // namespace tapdeck::app
