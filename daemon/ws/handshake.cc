#include "daemon/ws/handshake.h"

#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <vector>

namespace tapdeck::ws {

namespace {

std::string base64(const unsigned char* data, size_t size) {
  std::string out(4 * ((size + 2) / 3), '\0');
  EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()), data, static_cast<int>(size));
  return out;
}

// The piece before `separator`, which is taken off `text`. Quoted strings are only allowed around tokens here
// (RFC 6455 9.1), so a separator never hides in one.
std::string_view cut(std::string_view& text, char separator) {
  const size_t at = text.find(separator);
  const std::string_view piece = text.substr(0, at);
  text.remove_prefix(at == std::string_view::npos ? text.size() : at + 1);
  return http::trim_ows(piece);
}

struct Parameter {
  std::string_view name;
  std::optional<std::string_view> value;
};
struct Extension {
  std::string_view name;
  std::vector<Parameter> parameters;
};

std::vector<Extension> parse_extensions(const http::Headers& headers) {
  std::vector<Extension> out;
  for (size_t i = 0; i < headers.size(); ++i) {
    if (!http::iequals(headers[i].name, "sec-websocket-extensions")) continue;
    std::string_view list = headers[i].value;
    while (!list.empty()) {
      std::string_view text = cut(list, ',');
      if (text.empty()) continue;
      Extension& extension = out.emplace_back();
      extension.name = cut(text, ';');
      while (!text.empty()) {
        std::string_view parameter = cut(text, ';');
        Parameter& added = extension.parameters.emplace_back();
        const bool has_value = parameter.contains('=');
        added.name = cut(parameter, '=');
        if (!has_value) continue;
        std::string_view value = http::trim_ows(parameter);
        if (value.size() >= 2 && value.starts_with('"') && value.ends_with('"'))
          value = value.substr(1, value.size() - 2);
        added.value = value;
      }
    }
  }
  return out;
}

std::optional<int> window_bits(std::string_view text) {
  int bits = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bits);
  if (error != std::errc() || end != text.data() + text.size() || bits < 8 || bits > 15 || text[0] == '0') {
    return std::nullopt;
  }
  return bits;
}

// One permessage-deflate extension, offered or agreed. In an offer client_max_window_bits may have no value.
struct Stated {
  DeflateParams params;
  bool client_bits = false;  // client_max_window_bits is there
};

std::optional<Stated> stated(const Extension& extension) {
  Stated out;
  unsigned seen = 0;
  for (const Parameter& parameter : extension.parameters) {
    unsigned bit = 0;
    if (parameter.name == "server_no_context_takeover" && !parameter.value) {
      bit = 1;
      out.params.server = Context::Dropped;
    } else if (parameter.name == "client_no_context_takeover" && !parameter.value) {
      bit = 2;
      out.params.client = Context::Dropped;
    } else if (parameter.name == "server_max_window_bits" && parameter.value) {
      bit = 4;
      const auto bits = window_bits(*parameter.value);
      if (!bits) return std::nullopt;
      out.params.server_window_bits = *bits;
    } else if (parameter.name == "client_max_window_bits") {
      bit = 8;
      out.client_bits = true;
      const auto bits = parameter.value ? window_bits(*parameter.value) : std::optional(15);
      if (!bits) return std::nullopt;
      out.params.client_window_bits = *bits;
    }
    if (bit == 0 || (seen & bit) != 0) return std::nullopt;  // unknown or twice: the offer is declined (7.1)
    seen |= bit;
  }
  return out;
}

constexpr std::string_view kDeflate = "permessage-deflate";

}  // namespace

bool is_opened(const http::RequestHead& request, const http::ResponseHead& response) {
  if (!http::is_websocket(request)) return false;
  if (response.status == 101) return response.headers.has_token("upgrade", "websocket");
  return request.method == "CONNECT" && response.status >= 200 && response.status < 300;
}

std::string accept_of(std::string_view key) {
  const std::string text = std::string(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha1(), nullptr);
  return base64(digest.data(), size);
}

bool accepts(const http::ResponseHead& response, std::string_view key) {
  const auto accept = response.headers.find("sec-websocket-accept");
  return accept && *accept == accept_of(key);
}

std::string random_key() {
  std::array<unsigned char, 16> bytes{};
  // Needs no secrecy: it only has to differ (RFC 6455 10.3), so a failing generator is not worth a failure.
  if (RAND_bytes(bytes.data(), bytes.size()) != 1) bytes.fill(0x5a);
  return base64(bytes.data(), bytes.size());
}

bool is_key(std::string_view text) {
  if (text.size() != 24 || !text.ends_with("==")) return false;
  const auto is_digit = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
  };
  return std::ranges::all_of(text.substr(0, 22), is_digit);
}

AgreedExtensions agreed_extensions(const http::Headers& response) {
  AgreedExtensions out;
  for (const Extension& extension : parse_extensions(response)) {
    const auto params = extension.name == kDeflate ? stated(extension) : std::nullopt;
    if (!params || out.deflate) {
      out.known = false;
      return out;
    }
    out.deflate = params->params;
  }
  return out;
}

bool has_unoffered_extension(const http::Headers& request, const http::Headers& response) {
  const std::vector<Extension> offered = parse_extensions(request);
  return std::ranges::any_of(parse_extensions(response), [&](const Extension& agreed) {
    return std::ranges::find(offered, agreed.name, &Extension::name) == offered.end();
  });
}

std::optional<DeflateParams> accept_offer(const http::Headers& request, const DeflateParams& wanted) {
  for (const Extension& extension : parse_extensions(request)) {
    if (extension.name != kDeflate) continue;
    const auto offer = stated(extension);
    if (!offer || offer->params.server_window_bits < 9) continue;
    DeflateParams agreed = wanted;
    if (offer->params.server == Context::Dropped) agreed.server = Context::Dropped;
    if (offer->params.client == Context::Dropped) agreed.client = Context::Dropped;
    // zlib cannot write a window of 8 bits; one of 9 would break a recorded promise of 8, one of 15 keeps the offer.
    agreed.server_window_bits =
        std::min(offer->params.server_window_bits, wanted.server_window_bits < 9 ? 15 : wanted.server_window_bits);
    // Only a client that names the parameter understands it in the answer (7.1.2.2).
    agreed.client_window_bits =
        offer->client_bits ? std::min(offer->params.client_window_bits, wanted.client_window_bits) : 15;
    return agreed;
  }
  return std::nullopt;
}

std::string to_header(const DeflateParams& params) {
  std::string out(kDeflate);
  if (params.server == Context::Dropped) out += "; server_no_context_takeover";
  if (params.client == Context::Dropped) out += "; client_no_context_takeover";
  if (params.server_window_bits != 15) out += "; server_max_window_bits=" + std::to_string(params.server_window_bits);
  if (params.client_window_bits != 15) out += "; client_max_window_bits=" + std::to_string(params.client_window_bits);
  return out;
}

}  // namespace tapdeck::ws
