#include "netns-tests/grpc_lab.h"

#include <signal.h>

#include "netns-tests/eventually.h"
#include "netns-tests/lab_error.h"

namespace tapdeck::lab {
namespace {

const std::string kClientSources = TAPDECK_LAB_CLIENTS;
const std::string kCache = "/var/cache/tapdeck-test";

// Modules come from wherever Go is told to get them, once: go.sum says which bytes are right.
std::string grpc_go() {
  static const TempDir directory;
  static const std::string binary = [] {
    const auto file = (directory / "grpc_go").string();
    const auto built =
        run_to_end({.argv = {"sh", "-c", "cd " + kClientSources + "/grpc_go && exec go build -o " + file + " ."},
                    .env = {{"GO111MODULE", "on"},
                            {"GOTOOLCHAIN", "local"},
                            {"GOFLAGS", "-mod=readonly"},
                            {"GOMODCACHE", kCache + "/go-modules"},
                            {"GOCACHE", kCache + "/go"}}},
                   std::chrono::minutes(10));
    if (built.status != 0) raise("go build grpc_go: " + built.err);
    return file;
  }();
  return binary;
}

// The words before a program of clients/grpc_js. Its modules come from wherever npm is told to get them, once for each
// content of package-lock.json, which says which bytes are right; nothing of theirs runs while they are installed.
std::vector<std::string> grpc_js(const std::string& program) {
  static const std::string modules = [] {
    const std::string source = kClientSources + "/grpc_js";
    const std::string directory = kCache + "/grpc_js";
    const auto installed =
        run_to_end({.argv = {"sh", "-ec",
                             "cmp -s \"$1/package-lock.json\" \"$2/installed.json\" && exit 0\n"
                             "rm -rf \"$2\"; mkdir -p \"$2\"; cp \"$1\"/package*.json \"$2\"; cd \"$2\"\n"
                             "npm ci --ignore-scripts --no-audit --no-fund --cache \"$2.npm\" >&2\n"
                             "cp package-lock.json installed.json",
                             "sh", source, directory}},
                   std::chrono::minutes(4));
    if (installed.status != 0) raise("npm ci of clients/grpc_js: " + installed.err);
    return directory + "/node_modules";
  }();
  return {"env", "NODE_PATH=" + modules, "node", kClientSources + "/grpc_js/" + program};
}

// Where interop_pb2.py is.
std::string python_messages() {
  static const TempDir directory;
  static const bool made = [] {
    const auto run = run_to_end({.argv = {"protoc", "--python_out=" + directory.path().string(), "-I",
                                          kClientSources + "/grpc", "interop.proto"}});
    if (run.status != 0) raise("protoc: " + run.err);
    return true;
  }();
  return made ? directory.path().string() : "";
}

// The words before a program of clients/grpc.
std::vector<std::string> grpc_python(const std::string& program) {
  return {"env",
          "PYTHONPATH=" + python_messages(),
          "PYTHONDONTWRITEBYTECODE=1",
          "GRPC_DNS_RESOLVER=native",  // the hosts file; the lab has no name server to wait for
          "/usr/bin/python3",
          kClientSources + "/grpc/" + program};
}

std::vector<std::string> server_command(const std::string& server) {
  if (server == "js") return grpc_js("server.js");
  if (server == "python") return grpc_python("server.py");
  return {grpc_go(), "server"};
}

}  // namespace

GrpcServer::GrpcServer(Topology& lab, const std::string& server, Tls tls) {
  std::vector<std::string> argv = server_command(server);
  argv.push_back("[::]:" + std::to_string(kGrpcPort));
  if (tls == Tls::Yes) {
    argv.push_back(lab.leaf().certificate);
    argv.push_back(lab.leaf().key);
  }
  process_ = std::make_unique<Process>(ProcessOptions{.argv = argv, .netns = &lab.origin()});
  const bool up = eventually(10s, [&] { return !process_->running() || process_->out().starts_with("ready"); });
  if (!up || !process_->running()) raise("the gRPC server did not start: " + process_->err());
}

void GrpcServer::stop() {
  process_->signal(SIGKILL);
  if (!process_->wait(5s)) raise("the gRPC server did not stop");
}

std::vector<std::string> grpc_client(const GrpcCall& call, const std::vector<std::string>& cases) {
  const std::string address = call.host + ":" + std::to_string(kGrpcPort);
  const std::string name = call.tls == Tls::Yes ? call.host : "-";
  std::vector<std::string> argv;
  if (call.client == "go") {
    argv = {grpc_go(), "client", address, name};
  } else if (call.client == "js") {
    argv = grpc_js("client.js");
    argv.insert(argv.end(), {address, name});
  } else {
    argv = grpc_python("interop.py");
    argv.insert(argv.end(), {address, name});
  }
  argv.insert(argv.end(), cases.begin(), cases.end());
  return argv;
}

}  // namespace tapdeck::lab
