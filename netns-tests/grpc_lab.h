// The gRPC peers of the lab: interop servers, and clients that run the public interop cases with
// grpc-go, grpcio and grpc-js each. Built, generated and installed once for all tests. Thread: one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "netns-tests/process.h"
#include "netns-tests/topology.h"

namespace tapdeck::lab {

inline constexpr int kGrpcPort = 50051;

enum class Tls : uint8_t { No, Yes };

class GrpcServer {
 public:
  // "go" | "js" | "python", in the origin's namespace, on kGrpcPort of every address. Throws when it does not come up.
  GrpcServer(Topology& lab, const std::string& server, Tls tls);
  void stop();

 private:
  std::unique_ptr<Process> process_;
};

struct GrpcCall {
  std::string client;  // "go" | "python" | "js"
  std::string host;
  Tls tls = Tls::No;
};
// The command that runs these cases: a line "CASE ok" each, and status 1 at the first that fails.
[[nodiscard]] std::vector<std::string> grpc_client(const GrpcCall& call, const std::vector<std::string>& cases);

}  // namespace tapdeck::lab
