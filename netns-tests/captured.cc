#include "netns-tests/captured.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "netns-tests/eventually.h"
#include "netns-tests/lab_error.h"

namespace tapdeck::lab {

Stream Captured::connect_tls(const std::string& address, uint16_t port, const TlsContext& tls) const {
  Stream stream = connect(address, port);
  if (!stream.connect_tls(tls, "origin.test")) raise(stream.error());
  return stream;
}

size_t Captured::recordings() const {
  const auto list = nlohmann::json::parse(daemon_.must_cli({"recording", "list", "--json"}), nullptr, false);
  return list.is_object() && list.contains("items") ? list["items"].size() : 0;
}

std::string get_request(const std::string& path, const std::string& more_headers) {
  return "GET " + path + " HTTP/1.1\r\nHost: origin.test\r\n" + more_headers + "Connection: close\r\n\r\n";
}

std::string ok_response(const std::string& body) {
  return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

pid_t guard_of(const Process& run) {
  const std::string pid = std::to_string(run.pid());
  std::istringstream children(read_file("/proc/" + pid + "/task/" + pid + "/children"));
  for (pid_t child = 0; children >> child;) {
    const std::string name = read_file("/proc/" + std::to_string(child) + "/comm");
    if (name == "td-run-guard\n" || name == "td-run-keeper\n") return child;
  }
  return 0;
}

void kill_with_its_guard(Process& run) {
  const pid_t guard = guard_of(run);
  ASSERT_GT(guard, 0);  // of pid 0 all of the test's own processes would get it
  ::kill(guard, SIGKILL);
  run.signal(SIGKILL);
  ASSERT_EQ(run.wait(std::chrono::seconds(10)), 128 + SIGKILL);
}

}  // namespace tapdeck::lab
