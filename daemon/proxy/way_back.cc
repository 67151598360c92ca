#include "daemon/proxy/way_back.h"

#include <algorithm>

#include "daemon/base/ascii.h"
#include "daemon/proxy/destination.h"

namespace tapdeck::proxy {

std::string rewritten_target(const config::Route& route, std::string_view target) {
  if (!route.rewrite_path || !target.starts_with('/')) return std::string(target);
  std::string_view rest = target;
  if (route.path) {
    rest.remove_prefix(std::min(route.path->size(), rest.size()));
  } else if (route.path_prefix) {
    rest.remove_prefix(std::min(route.path_prefix->size(), rest.size()));
  }
  std::string_view front = *route.rewrite_path;
  if (front.ends_with('/') && rest.starts_with('/')) front.remove_suffix(1);
  return std::string(front) + std::string(rest);
}

WayBack WayBack::of(const config::Route& route, const config::UpstreamUrl& upstream, const http::RequestHead& request) {
  WayBack out;
  if (route.rewrite_host) {
    out.scheme = upstream.scheme == config::UpstreamUrl::Scheme::Https ? "https" : "http";
    out.host = lowered(upstream.host);
    out.port = upstream.port;
  } else if (route.rewrite_path) {
    const auto named = Destination::parse(request.authority, request.scheme == "https" ? 443 : 80);
    out.scheme = request.scheme;
    out.host = named ? named->host : "";
    out.port = named ? named->port : 0;
  }
  if (!request.authority.empty()) out.client = request.scheme + "://" + request.authority;
  out.prefix = route.path ? *route.path : route.path_prefix.value_or("");
  out.rewritten = route.rewrite_path;
  if (route.path) out.paths = Paths::Same;
  return out;
}

std::optional<std::string> WayBack::path(std::string_view upstream) const {
  std::string_view front = rewritten ? *rewritten : prefix;
  // "/api" became "/": the slash before what follows is its own.
  const bool own_slash = front.ends_with('/') && !prefix.ends_with('/') && paths == Paths::Below;
  if (own_slash) front.remove_suffix(1);
  if (!upstream.starts_with(front)) return std::nullopt;
  const std::string_view rest = upstream.substr(front.size());
  const bool ends = rest.empty() || rest.starts_with('?') || rest.starts_with('#');
  const bool parts = ends || rest.starts_with('/');
  if (paths == Paths::Same ? !ends : (own_slash || prefix.empty()) && !parts) return std::nullopt;
  std::string out = prefix + std::string(rest);
  if (!out.starts_with('/')) out.insert(0, "/");
  return out;
}

std::optional<std::string> WayBack::location(std::string_view value) const {
  if (value.starts_with('/') && !value.starts_with("//")) return rewritten ? path(value) : std::nullopt;
  const size_t slashes = value.find("//");
  if (host.empty() || slashes == std::string_view::npos) return std::nullopt;
  const std::string_view named = value.substr(0, slashes);
  if (!named.empty() && lowered(named) != scheme + ':') return std::nullopt;
  const size_t begin = slashes + 2;
  const size_t end = std::min(value.find_first_of("/?#", begin), value.size());
  const auto there = Destination::parse(value.substr(begin, end - begin), scheme == "https" ? 443 : 80);
  if (!there || there->port != port || there->host != host) return std::nullopt;
  std::string rest(value.substr(end));
  if (!rest.starts_with('/')) rest.insert(0, "/");
  auto mapped = path(rest);
  if (mapped) mapped->insert(0, client);
  return mapped;
}

void WayBack::apply(http::Headers& headers) const {
  for (const char* name : {"location", "content-location"}) {
    if (headers.count(name) != 1) continue;
    if (const auto mapped = location(*headers.find(name))) headers.set(name, *mapped);
  }
}

}  // namespace tapdeck::proxy
