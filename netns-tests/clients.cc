#include "netns-tests/clients.h"

#include <ostream>
#include <sstream>

#include "netns-tests/lab_error.h"
#include "netns-tests/lab_peer.h"

namespace tapdeck::lab {
namespace {

const std::string kClients = TAPDECK_LAB_CLIENTS;

std::string url(const std::string& host, const std::string& path) {
  return "https://" + host + path;
}

Output run_client(const std::string& kind, const Seat& seat, const std::string& host, const std::string& path) {
  if (kind == "curl") return run_in(seat, {"curl", "-sS", "-i", "--http1.1", url(host, path)});
  if (kind == "python") return run_in(seat, {"/usr/bin/python3", kClients + "/client.py", url(host, path)});
  if (kind == "node") return run_in(seat, {"node", kClients + "/client.js", url(host, path)});
  if (kind == "go") return run_in(seat, {go_client(), url(host, path)});
  if (kind == "wget") {
    // -S: the headers of the server, on stderr.
    return run_in(seat, {"wget", "-q", "-S", "-O", "-", "--ca-certificate", seat.ca, url(host, path)});
  }
  if (kind == "s_client") {
    return run_in(seat,
                  {"openssl", "s_client", "-quiet", "-ign_eof", "-verify_return_error", "-CAfile", seat.ca, "-connect",
                   host + ":443", "-servername", host, "-alpn", "http/1.1"},
                  "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n");
  }
  raise("no client called " + kind);
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t from = 0; from < text.size();) {
    const auto end = std::min(text.find("\r\n", from), text.size());
    if (end > from) lines.push_back(text.substr(from, end - from));
    from = end + 2;
  }
  return lines;
}

bool is_chunked(const std::vector<std::string>& headers) {
  for (auto line : headers) {
    for (auto& c : line) c = static_cast<char>(std::tolower(c));
    if (line.starts_with("transfer-encoding:") && line.find("chunked") != std::string::npos) return true;
  }
  return false;
}

}  // namespace

// Compiled once for all tests; Go's own cache makes the later calls cheap.
std::string go_client() {
  static const TempDir directory;
  static const std::string binary = [] {
    const auto file = (directory / "client").string();
    const auto built = run_to_end({.argv = {"go", "build", "-o", file, kClients + "/client.go"},
                                   .env = {{"GO111MODULE", "off"},
                                           {"GOTOOLCHAIN", "local"},
                                           {"GOFLAGS", ""},
                                           {"GOCACHE", "/var/cache/tapdeck-test/go"}}},
                                  std::chrono::minutes(3));
    if (built.status != 0) raise("go build: " + built.err);
    return file;
  }();
  return binary;
}

ProcessOptions seated(const Seat& seat, const std::vector<std::string>& argv) {
  ProcessOptions options{.argv = argv,
                         .netns = seat.from != nullptr ? seat.from : &seat.lab.client(),
                         .cgroup = seat.cgroup,
                         .hosts_file = seat.lab.hosts_file()};
  if (!seat.ca.empty()) {
    for (const auto* name : {"SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS",
                             "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"}) {
      options.env[name] = seat.ca;
    }
  }
  return options;
}

Output run_in(const Seat& seat, const std::vector<std::string>& argv, const std::string& input,
              std::chrono::milliseconds deadline) {
  auto options = seated(seat, argv);
  options.input = input;
  return run_to_end(options, deadline);
}

std::string lab_peer_binary() {
  return TAPDECK_LAB_PEER;
}

Stream connect_from(const Namespace& where, const Endpoint& to, uint16_t local_port) {
  constexpr std::chrono::milliseconds kDeadline{10000};
  UniqueFd fd;
  where.run([&] { fd = dial(to, local_port, kDeadline.count()); });
  if (!fd) raise("no connection to " + to.to_string());
  return Stream(std::move(fd), kDeadline);
}

Output raw_https(const Seat& seat, const std::string& address, const std::string& name, const std::string& request,
                 const std::vector<std::string>& more) {
  std::vector<std::string> argv = {lab_peer_binary(), "bytes", address, "443", "--tls", name, "--ca", seat.ca};
  argv.insert(argv.end(), more.begin(), more.end());
  return run_in(seat, argv, request);
}

Output raw_tcp(const Seat& seat, const std::string& address, uint16_t port, const std::string& bytes,
               const std::vector<std::string>& more) {
  std::vector<std::string> argv = {lab_peer_binary(), "bytes", address, std::to_string(port)};
  argv.insert(argv.end(), more.begin(), more.end());
  return run_in(seat, argv, bytes);
}

Output load(const Seat& seat, const std::string& address, uint16_t port, const std::vector<std::string>& flags,
            std::chrono::milliseconds deadline) {
  std::vector<std::string> argv = {lab_peer_binary(), "load", address, std::to_string(port)};
  argv.insert(argv.end(), flags.begin(), flags.end());
  return run_in(seat, argv, "", deadline);
}

const std::vector<std::string>& client_kinds() {
  static const std::vector<std::string> kinds = {"curl", "python", "node", "go", "wget", "s_client"};
  return kinds;
}

std::string fetch(const std::string& kind, const Seat& seat, const std::string& host, const std::string& path) {
  const auto output = run_client(kind, seat, host, path);
  if (output.status != 0) {
    raise(kind + " " + url(host, path) + ": status " + std::to_string(output.status) + ": " + output.out + output.err);
  }
  // What s_client says of the certificate chain is not the answer, and names the day's leaf.
  return kind == "wget" ? output.err + output.out : output.out;
}

RawResponse parse_raw(const std::string& bytes) {
  const auto head_end = bytes.find("\r\n\r\n");
  if (head_end == std::string::npos) raise("no complete response head in: " + bytes);
  RawResponse response;
  auto lines = lines_of(bytes.substr(0, head_end + 2));
  response.status_line = lines.at(0);
  response.header_lines.assign(lines.begin() + 1, lines.end());
  size_t at = head_end + 4;
  if (!is_chunked(response.header_lines)) {
    response.body = bytes.substr(at);
    return response;
  }
  for (;;) {
    const auto line_end = bytes.find("\r\n", at);
    if (line_end == std::string::npos) raise("chunked body ends early");
    const auto size = std::stoul(bytes.substr(at, line_end - at), nullptr, 16);
    at = line_end + 2;
    if (size == 0) break;
    if (bytes.compare(at + size, 2, "\r\n") != 0) raise("chunk without its end");
    response.body += bytes.substr(at, size);
    at += size + 2;
  }
  if (!bytes.ends_with("\r\n")) raise("no end of the trailers");
  response.trailer_lines = lines_of(bytes.substr(at));
  return response;
}

std::ostream& operator<<(std::ostream& out, const RawResponse& response) {
  out << response.status_line << "\n";
  for (const auto& line : response.header_lines) out << line << "\n";
  out << "[" << response.body.size() << " bytes] " << response.body.substr(0, 400) << "\n";
  for (const auto& line : response.trailer_lines) out << "trailer " << line << "\n";
  return out;
}

}  // namespace tapdeck::lab
