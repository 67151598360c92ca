// run_command() with the real services: a file of its own, so that tests of the order need not link them.
#include "daemon/app/run_command.h"

#include "daemon/app/child.h"
#include "daemon/base/threads.h"

namespace tapdeck::app {

int run_command(const RunOptions& options) {
  end_without_threads(kExitOurFailure);
  return run_with(options, make_run_services);
}

}  // namespace tapdeck::app
