#include "daemon/coding/coding.h"

#include <algorithm>

namespace tapdeck::coding {
namespace {

constexpr int kFull = 1000;

// Calls `each` for the members of every field of that name, empty ones left out.
template <class Each>
void members(const http::Headers& headers, std::string_view name, Each each) {
  for (size_t i = 0; i < headers.size(); ++i) {
    if (!http::iequals(headers[i].name, name)) continue;
    std::string_view rest = headers[i].value;
    while (!rest.empty()) {
      const size_t comma = rest.find(',');
      const std::string_view member = http::trim_ows(rest.substr(0, comma));
      if (!member.empty()) each(member);
      rest = comma == std::string_view::npos ? std::string_view{} : rest.substr(comma + 1);
    }
  }
}

// RFC 9110 12.4.2: "0.5" is 500. What is no weight counts as 1: the client named the coding.
int parse_weight(std::string_view text) {
  if (text.empty() || (text[0] != '0' && text[0] != '1')) return kFull;
  if (text[0] == '1') return kFull;
  int value = 0;
  int unit = 100;
  for (size_t i = 2; i < text.size() && unit > 0 && text[1] == '.'; ++i, unit /= 10) {
    if (text[i] < '0' || text[i] > '9') break;
    value += (text[i] - '0') * unit;
  }
  return value;
}

}  // namespace

std::string_view to_string(Coding coding) {
  switch (coding) {
    case Coding::Identity:
      return "identity";
    case Coding::Gzip:
      return "gzip";
    case Coding::Deflate:
      return "deflate";
    case Coding::Brotli:
      return "br";
    case Coding::Zstd:
      return "zstd";
  }
  return "identity";
}

std::optional<Coding> parse_coding(std::string_view token) {
  for (const Coding coding : {Coding::Identity, Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd}) {
    if (http::iequals(token, to_string(coding))) return coding;
  }
  if (http::iequals(token, "x-gzip")) return Coding::Gzip;
  return std::nullopt;
}

std::optional<std::vector<Coding>> codings_of(const http::Headers& headers) {
  std::vector<Coding> codings;
  bool known = true;
  members(headers, "content-encoding", [&](std::string_view member) {
    const std::optional<Coding> coding = parse_coding(member);
    known = known && coding.has_value();
    if (coding && *coding != Coding::Identity) codings.push_back(*coding);
  });
  if (!known || codings.size() > kMaxCodings) return std::nullopt;
  return codings;
}

Accepted::Accepted(const http::Headers& request) {
  if (request.count("accept-encoding") == 0) {
    weights_.fill(kFull);
    return;
  }
  int star = -1;
  std::array<int, 5> named;
  named.fill(-1);
  members(request, "accept-encoding", [&](std::string_view member) {
    const size_t semicolon = member.find(';');
    const std::string_view token = http::trim_ows(member.substr(0, semicolon));
    int weight = kFull;
    if (semicolon != std::string_view::npos) {
      const std::string_view parameter = http::trim_ows(member.substr(semicolon + 1));
      if (parameter.size() >= 2 && (parameter[0] | 0x20) == 'q') {
        const size_t equals = parameter.find('=');
        if (equals != std::string_view::npos) weight = parse_weight(http::trim_ows(parameter.substr(equals + 1)));
      }
    }
    if (token == "*") star = weight;
    if (const auto coding = parse_coding(token)) named[static_cast<size_t>(*coding)] = weight;
  });
  for (size_t i = 0; i < weights_.size(); ++i) weights_[i] = named[i] >= 0 ? named[i] : std::max(star, 0);
  // Identity is taken unless it is refused by name or by "*;q=0".
  const auto identity = static_cast<size_t>(Coding::Identity);
  if (named[identity] < 0 && star != 0) weights_[identity] = std::max(weights_[identity], 1);
}

Coding Accepted::best() const {
  Coding best = Coding::Identity;
  for (const Coding coding : kCodings) {
    if (weight(coding) > weight(best)) best = coding;
  }
  return best;
}

}  // namespace tapdeck::coding
