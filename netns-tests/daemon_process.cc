#include "netns-tests/daemon_process.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "netns-tests/eventually.h"
#include "netns-tests/lab_error.h"
#include "netns-tests/stream.h"

namespace tapdeck::lab {

std::filesystem::path tapdeck_binary() {
  const char* given = std::getenv("TAPDECK_BIN");
  std::filesystem::path binary = given != nullptr ? given : TAPDECK_BINARY;
  if (!std::filesystem::exists(binary)) raise(binary.string() + " is not there; run: make build");
  return binary;
}

std::filesystem::path tapdeck_for_anyone(const TempDir& place) {
  using std::filesystem::perms;
  std::filesystem::permissions(place.path(), perms::owner_all | perms::group_exec | perms::others_exec);
  std::filesystem::copy_file(tapdeck_binary(), place / "tapdeck");
  std::filesystem::permissions(place / "tapdeck", perms::others_exec | perms::others_read,
                               std::filesystem::perm_options::add);
  return place / "tapdeck";
}

HttpReply unix_http(const std::filesystem::path& socket, const std::string& method, const std::string& target,
                    const std::string& body) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  socket.string().copy(address.sun_path, sizeof address.sun_path - 1);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return {};
  Stream stream(std::move(fd), 5s);
  stream.send(method + " " + target + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: " +
              std::to_string(body.size()) + "\r\nContent-Type: application/json\r\n\r\n" + body);
  const auto reply = stream.read_to_end();
  const auto end = reply.find("\r\n\r\n");
  if (reply.size() < 12 || end == std::string::npos) return {};
  return {std::atoi(reply.c_str() + 9), reply.substr(end + 4)};
}

DaemonProcess::DaemonProcess(Topology& lab, DaemonOptions options)
    : lab_(lab), directory_(lab.directory() / "daemon"), env_(options.env) {
  std::filesystem::create_directories(directory_ / "run");
  std::filesystem::create_directories(directory_ / "state");
  write_config(options);
  start();
  const auto ca = read_file(state() / "ca.pem");
  if (ca.empty()) raise("the daemon is ready but left no ca.pem in " + state().string());
  write_file(client_ca(), ca + read_file(lab.ca().certificate()));
}

DaemonProcess::~DaemonProcess() {
  if (::testing::Test::HasFailure()) std::cerr << "--- tapdeck's log\n" << log() << "--- end of tapdeck's log\n";
  if (running()) {
    process_->signal(SIGCONT);
    process_->signal(SIGTERM);
    if (!process_->wait(20s)) ADD_FAILURE() << "the daemon did not end within 20 s of SIGTERM:\n" << log();
  }
  // What closed targets keep in the kernel until told not to. Another daemon of the test may still hold the records.
  static_cast<void>(run_to_end({.argv = {tapdeck_binary(), "clean"}, .netns = &lab_.gw()}));
}

void DaemonProcess::write_config(const DaemonOptions& options) const {
  auto sections = options.sections;
  sections["proxy"] += "mode = \"" + options.mode + "\"\n";
  sections["storage"] += "path = \"" + state().string() + "\"\n";
  sections["tls"] += "upstream_ca = [\"" + lab_.ca().certificate().string() + "\"]\n";
  sections["admin"] += "socket = \"" + socket().string() + "\"\ntoken_file = \"" +
                       (directory_ / "run" / "admin.token").string() + "\"\n";
  sections["log"] += "format = \"pretty\"\n";
  std::string text;
  for (const auto& [name, keys] : sections) text += "[" + name + "]\n" + keys + "\n";
  text += options.routes;
  write_file(config(), text);
}

void DaemonProcess::start() {
  if (process_) earlier_log_ += process_->out() + process_->err();
  process_ = std::make_unique<Process>(
      ProcessOptions{.argv = {tapdeck_binary(), "serve", "--config", config()}, .netns = &lab_.gw(), .env = env_});
  const bool ready = eventually(15s, [this] { return !process_->running() || get("/readyz").status == 200; });
  if (!ready || !process_->running()) raise("the daemon did not become ready; it said:\n" + log());
}

int DaemonProcess::stop(std::chrono::milliseconds deadline) {
  process_->signal(SIGTERM);
  const auto status = process_->wait(deadline);
  if (!status) raise("the daemon did not end after SIGTERM; it said:\n" + log());
  return *status;
}

void DaemonProcess::kill() {
  process_->signal(SIGKILL);
  static_cast<void>(process_->wait(5s));
}

Output DaemonProcess::cli(std::vector<std::string> arguments) const {
  arguments.insert(arguments.begin(), tapdeck_binary());
  arguments.insert(arguments.end(), {"--config", config()});
  return run_to_end({.argv = arguments, .netns = &lab_.gw(), .env = env_});
}

std::string DaemonProcess::must_cli(std::vector<std::string> arguments) const {
  const auto output = cli(arguments);
  std::string line = "tapdeck";
  for (const auto& word : arguments) line += " " + word;
  if (output.status != 0) raise(line + ": status " + std::to_string(output.status) + ": " + output.out + output.err);
  return output.out;
}

namespace {

std::string target_id(const std::string& printed) {
  const auto answer = nlohmann::json::parse(printed, nullptr, false);
  if (!answer.is_object() || !answer.contains("id")) raise("attach --json printed no id: " + printed);
  return answer["id"].is_string() ? answer["id"].get<std::string>() : answer["id"].dump();
}

}  // namespace

std::string DaemonProcess::attach_cgroup(const Cgroup& cgroup, std::vector<std::string> more) const {
  more.insert(more.begin(), {"attach", "--json", "--cgroup", cgroup.path()});
  return target_id(must_cli(more));
}

std::string DaemonProcess::attach_interface(const std::string& interface, std::vector<std::string> more) const {
  more.insert(more.begin(), {"attach", "--json", "--interface", interface});
  return target_id(must_cli(more));
}

double DaemonProcess::metric(const std::string& name, const std::vector<std::string>& labels) const {
  std::istringstream text(get("/metrics").body);
  double sum = 0;
  for (std::string line; std::getline(text, line);) {
    if (!line.starts_with(name) || (line[name.size()] != '{' && line[name.size()] != ' ')) continue;
    bool all = true;
    for (const auto& label : labels) all = all && line.find(label) != std::string::npos;
    if (all) sum += std::strtod(line.c_str() + line.rfind(' '), nullptr);
  }
  return sum;
}

}  // namespace tapdeck::lab
