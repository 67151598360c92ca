// tapdeck: one binary for recording, replaying and looking. See cli.h for what it takes.
#include <unistd.h>

#include <iostream>
#include <string>
#include <vector>

#include "daemon/app/cli.h"
#include "daemon/base/result.h"
#include "daemon/tls/record_buffers.h"

int main(int argc, char** argv) {
  using namespace tapdeck::app;
  tapdeck::ignore(tapdeck::tls::keep_record_buffers(), "slower, nothing else");
  const Streams streams{
      .out = std::cout, .err = std::cerr, .terminal = ::isatty(1) != 0 ? Terminal::Yes : Terminal::No};
  const Programs programs{.run = run_command,
                          .serve = [](const ServeOptions& options) { return serve(options, make_service); }};
  const int status = run_cli({argv + 1, argv + argc}, programs, streams);
  std::cout.flush();
  return std::cout.good() || status != kExitOk ? status : kExitFailure;
}
