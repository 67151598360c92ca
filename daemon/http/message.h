// Version-free HTTP message heads. Nothing above http/ knows whether bytes were HTTP/1 or HTTP/2.
//
// Header names keep their case, order and repeats: a recording must give back what was sent. Lookups ignore case.
// Plain values, reusable without reallocation through clear(). Thread: any, one at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tapdeck::http {

// An ordered header (or trailer) list in one byte string: one allocation for all fields, none when reused.
class Headers {
 public:
  struct Field {
    std::string_view name;
    std::string_view value;
  };

  // Invalidates views handed out before.
  void add(std::string_view name, std::string_view value);
  // Replaces the value of every field of that name by one, at the place of the first; adds when absent.
  void set(std::string_view name, std::string_view value);
  // Removes every field of that name; returns how many.
  size_t remove(std::string_view name);
  void clear();

  [[nodiscard]] size_t size() const { return fields_.size(); }
  [[nodiscard]] bool empty() const { return fields_.empty(); }
  [[nodiscard]] Field operator[](size_t index) const {
    const Span& span = fields_[index];
    return {{text_.data() + span.name_offset, span.name_size}, {text_.data() + span.value_offset, span.value_size}};
  }
  // The first value of that name.
  [[nodiscard]] std::optional<std::string_view> find(std::string_view name) const;
  [[nodiscard]] size_t count(std::string_view name) const;
  // True when a comma separated list field contains `token` (case-insensitive), over all repeats. RFC 9110 5.6.1.
  [[nodiscard]] bool has_token(std::string_view name, std::string_view token) const;
  // Bytes of names and values together, as limits count them.
  [[nodiscard]] size_t bytes() const { return text_.size(); }

  friend bool operator==(const Headers& a, const Headers& b);

 private:
  struct Span {
    uint32_t name_offset, name_size, value_offset, value_size;
  };
  std::string text_;
  std::vector<Span> fields_;
};

// A request target without the origin of an absolute form and without a fragment, cut at the first '?'; "/" where there
// is no path. Views into `target`.
struct PathAndQuery {
  std::string_view path, query;
};
[[nodiscard]] PathAndQuery split_target(std::string_view target);

// ASCII case-insensitive equality, the rule for header names and tokens.
[[nodiscard]] bool iequals(std::string_view a, std::string_view b);

// Without the blanks and tabs around it (OWS, RFC 9110 5.6.3).
[[nodiscard]] std::string_view trim_ows(std::string_view text);

enum class Version : uint8_t { Http10, Http11, Http2 };

// "HTTP/1.0", "HTTP/1.1" or "HTTP/2".
[[nodiscard]] constexpr std::string_view to_string(Version version) {
  switch (version) {
    case Version::Http10:
      return "HTTP/1.0";
    case Version::Http11:
      return "HTTP/1.1";
    case Version::Http2:
      break;
  }
  return "HTTP/2";
}

struct RequestHead {
  std::string method;  // as sent, case kept
  std::string target;  // as sent: origin-form, absolute-form, authority-form or "*"
  Version version = Version::Http11;
  std::string scheme;     // "http" | "https"; of the connection, or of an absolute-form target
  std::string authority;  // Host or :authority, as sent; empty when the request had none (HTTP/1.0)
  std::string protocol;   // h2: :protocol of an extended CONNECT (RFC 8441), "websocket"; empty otherwise
  Headers headers;        // h1: all fields with Host at its place; h2: regular fields only
  void clear();
};

// A CONNECT for a tunnel. An extended one (RFC 8441) names a scheme and a path, and is a request like any other.
[[nodiscard]] bool asks_for_tunnel(const RequestHead& head);
// A WebSocket handshake in either form: an HTTP/1.1 GET with Upgrade: websocket and no body (with one it is a GET that
// offers an upgrade, and nothing more), or an extended CONNECT with :protocol websocket.
[[nodiscard]] bool is_websocket(const RequestHead& head);

// The standard phrase of RFC 9110 section 15, empty for a status that has none. HTTP/2 carries no phrase.
[[nodiscard]] std::string_view reason_phrase(int status);

struct ResponseHead {
  int status = 0;
  std::string reason;  // status text as sent, may be empty
  Version version = Version::Http11;
  Headers headers;
  void clear();
};

}  // namespace tapdeck::http
