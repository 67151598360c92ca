// Clients: how a test asks the origin: by lab_peer (raw bytes), curl, Python, Node, Go, wget, openssl s_client. Each
// runs in the client namespace with the lab's hosts file and, when given, in a captured cgroup. Thread: one.
#pragma once

#include <string>
#include <vector>

#include "daemon/base/endpoint.h"
#include "netns-tests/process.h"
#include "netns-tests/stream.h"
#include "netns-tests/topology.h"

namespace tapdeck::lab {

struct Seat {
  const Topology& lab;
  const Cgroup* cgroup = nullptr;   // captured by the cgroup path when given
  std::filesystem::path ca = {};    // what the client trusts
  const Namespace* from = nullptr;  // another client namespace than the first
};

// Runs any program in the seat; standard CA variables point to seat.ca.
Output run_in(const Seat& seat, const std::vector<std::string>& argv, const std::string& input = "",
              std::chrono::milliseconds deadline = std::chrono::seconds(60));
// The options of the same, for a Process of its own.
[[nodiscard]] ProcessOptions seated(const Seat& seat, const std::vector<std::string>& argv);

// A connection of this process from `where`; LabError when there is none within ten seconds. `local_port` 0: any.
[[nodiscard]] Stream connect_from(const Namespace& where, const Endpoint& to, uint16_t local_port = 0);

// lab_peer bytes: one TLS request, every byte of the answer. `more` are further flags.
Output raw_https(const Seat& seat, const std::string& address, const std::string& name, const std::string& request,
                 const std::vector<std::string>& more = {});
Output raw_tcp(const Seat& seat, const std::string& address, uint16_t port, const std::string& bytes,
               const std::vector<std::string>& more = {});
// lab_peer load; its JSON in Output::out.
Output load(const Seat& seat, const std::string& address, uint16_t port, const std::vector<std::string>& flags,
            std::chrono::milliseconds deadline = std::chrono::seconds(200));
[[nodiscard]] std::string lab_peer_binary();

// The program of clients/client.go.
[[nodiscard]] std::string go_client();

// The real clients of the issue, by name.
[[nodiscard]] const std::vector<std::string>& client_kinds();
// GET https://HOST/PATH with that client; everything it shows of the answer (status, headers, body, trailers as far as
// it knows them) as one text. LabError when it fails.
[[nodiscard]] std::string fetch(const std::string& kind, const Seat& seat, const std::string& host,
                                const std::string& path);

// A raw response taken apart: what "byte-exact" means, apart from where chunks were cut.
struct RawResponse {
  std::string status_line;
  std::vector<std::string> header_lines;  // in order, as sent
  std::string body;                       // unchunked
  std::vector<std::string> trailer_lines;
  friend bool operator==(const RawResponse&, const RawResponse&) = default;
};
// LabError when the bytes are no complete response.
[[nodiscard]] RawResponse parse_raw(const std::string& bytes);
std::ostream& operator<<(std::ostream& out, const RawResponse& response);

}  // namespace tapdeck::lab
