#include "netns-tests/proxied.h"

#include "netns-tests/chaos.h"
#include "netns-tests/eventually.h"
#include "netns-tests/lab_error.h"
#include "netns-tests/lab_peer.h"

namespace tapdeck::lab {
namespace {

DaemonOptions with_proxy(DaemonOptions options) {
  options.sections["proxy"] += "listen = \"0.0.0.0:8080\"\nallow = [\"10.77.1.0/24\"]\n";
  options.sections["dns"] += std::string("servers = [\"") + kOriginV4 + ":53\"]\n";
  options.sections["limits"] += "dns_timeout = \"400ms\"\n";
  return options;
}

// "both.test" has an address of each family, "refused" names lead where nobody listens.
DnsAnswer names(const std::string& name) {
  if (name == "origin.test") return {.addresses = {kOriginV4, kOriginV6}};
  if (name == "v4.origin.test") return {.addresses = {kOriginV4}};
  if (name == "v6.origin.test") return {.addresses = {kOriginV6}};
  if (name == "gateway.test") return {.addresses = {"10.77.2.1", "127.0.0.1"}};
  if (name == "servfail.test") return {.code = 2};
  if (name == "silent.test") return {.silent = true};
  if (name == "empty.test") return {};
  return {.code = 3};
}

}  // namespace

Proxied::Proxied(DaemonOptions options)
    : dns_(lab_.origin(), 53, names), daemon_(lab_, with_proxy(std::move(options))) {}

Output Proxied::run(const std::vector<std::string>& argv) const {
  auto options = seated(seat(), argv);
  for (const auto* name : {"http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"}) {
    options.env[name] = std::string("http://") + kProxy;
  }
  options.hosts_file.clear();  // the proxy knows the names; the client need not
  return run_to_end(options);
}

Stream Proxied::connect() const {
  return connect_from(lab_.client(), Endpoint::parse(kProxy).value());
}

std::string Proxied::ask(const std::string& request) const {
  Stream stream = connect();
  stream.send(request);
  return stream.read_to_end();
}

Stream Proxied::tunnel(const std::string& authority) const {
  Stream stream = connect();
  stream.send(connect_request(authority));
  const auto answer = stream.read_until("\r\n\r\n");
  if (!answer.starts_with("HTTP/1.1 200 ")) raise("CONNECT " + authority + ": " + answer + stream.read_to_end());
  return stream;
}

std::string Proxied::ask_tls(const std::string& authority, const std::string& name, const std::string& request,
                             const std::filesystem::path& ca) const {
  Stream stream = tunnel(authority);
  const auto context = TlsContext::client(ca);
  if (!stream.connect_tls(context, name)) return {};
  stream.send(request);
  return stream.read_to_end();
}

void Proxied::expect_no_connection_left() {
  lab::expect_no_connection_left(daemon_);
}

std::string connect_request(const std::string& authority) {
  return "CONNECT " + authority + " HTTP/1.1\r\nHost: " + authority + "\r\n\r\n";
}

}  // namespace tapdeck::lab
