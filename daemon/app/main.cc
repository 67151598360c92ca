// tapdeck: one binary for recording, replaying and looking. See cli.h for what it takes.
#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <iostream>
#include <string>
#include <vector>

#include "daemon/app/cli.h"
#include "daemon/base/result.h"
#include "daemon/base/threads.h"
#include "daemon/tls/record_buffers.h"

namespace {

// What we open must not become one of these, or our log would go into it. The wrong way round, so that reading and
// writing fails as it does when they are closed; and closed again for whatever we start.
void hold_standard_descriptors() {
  for (const int fd : {0, 1, 2}) {
    if (::fcntl(fd, F_GETFD) >= 0 || errno != EBADF) continue;
    const int opened = ::open("/dev/null", (fd == 0 ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
    if (opened >= 0 && opened != fd) ::close(opened);
  }
}

}  // namespace

int main(int argc, char** argv) {
  using namespace tapdeck::app;
  hold_standard_descriptors();
  tapdeck::end_without_threads(kExitFailure);
  tapdeck::ignore(tapdeck::tls::keep_record_buffers(), "slower, nothing else");
  // Set at all, glibc no longer raises it to the largest block freed: memory tables go back to the kernel instead of
  // leaving holes. Segments of long bodies are below it and of one size: the kernel would clear each page anew.
  mallopt(M_MMAP_THRESHOLD, 320 * 1024);
  const Streams streams{
      .out = std::cout, .err = std::cerr, .terminal = ::isatty(1) != 0 ? Terminal::Yes : Terminal::No};
  const Programs programs{.run = run_command,
                          .serve = [](const ServeOptions& options) { return serve(options, make_service); }};
  const int status = run_cli({argv + 1, argv + argc}, programs, streams);
  errno = 0;
  std::cout.flush();
  if (std::cout.good()) return status;
  if (errno != EPIPE)
    std::cerr << "tapdeck: not all of the output could be written: " << std::strerror(errno ? errno : EIO) << '\n';
  return status != kExitOk ? status : kExitFailure;
}
