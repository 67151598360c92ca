// tapdeck: one binary for recording, replaying and looking. See cli.h for what it takes.
#include <unistd.h>

#include <iostream>
#include <string>
#include <vector>

#include "daemon/app/cli.h"

int main(int argc, char** argv) {
  using namespace tapdeck::app;
  const Streams streams{
      .out = std::cout, .err = std::cerr, .terminal = ::isatty(1) != 0 ? Terminal::Yes : Terminal::No};
  const Programs programs{.run = run_command,
                          .serve = [](const ServeOptions& options) { return serve(options, make_service); }};
  const int status = run_cli({argv + 1, argv + argc}, programs, streams);
  std::cout.flush();
  return std::cout.good() || status != kExitOk ? status : kExitFailure;
}
