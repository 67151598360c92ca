#include "daemon/modes/rendition.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>
#include <utility>

namespace tapdeck::modes {
namespace {

using http::Headers;
using Outcome = store::Outcome;

constexpr std::array<std::string_view, 6> kConditions = {
    "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "range"};

// The opaque part of an entity tag, and whether it is weak. nullopt: no entity tag (RFC 9110 8.8.3).
struct Tag {
  std::string_view opaque;
  bool weak = false;
};
std::optional<Tag> parse_tag(std::string_view text) {
  Tag tag;
  tag.weak = text.starts_with("W/");
  if (tag.weak) text.remove_prefix(2);
  if (text.size() < 2 || text.front() != '"' || text.back() != '"') return std::nullopt;
  tag.opaque = text;
  return tag;
}

enum class Comparison { Weak, Strong };

// RFC 9110 13.1.1 and 13.1.2: "*", or a list with the recorded tag in it. Commas may stand inside the quotes.
bool list_holds(const Headers& request, std::string_view field, std::string_view recorded, Comparison comparison) {
  const std::optional<Tag> have = parse_tag(recorded);
  for (size_t i = 0; i < request.size(); ++i) {
    if (!http::iequals(request[i].name, field)) continue;
    std::string_view rest = http::trim_ows(request[i].value);
    if (rest == "*") return true;
    while (have && !rest.empty()) {
      const size_t open = rest.find('"');
      if (open == std::string_view::npos) break;
      const size_t close = rest.find('"', open + 1);
      if (close == std::string_view::npos) break;
      const bool weak = open >= 2 && rest.substr(open - 2, 2) == "W/";
      const bool counts = comparison == Comparison::Weak || (!weak && !have->weak);
      if (counts && rest.substr(open, close - open + 1) == have->opaque) return true;
      rest.remove_prefix(close + 1);
    }
  }
  return false;
}

std::optional<int64_t> date_in(const Headers& headers, std::string_view name) {
  const auto value = headers.find(name);
  return value ? parse_http_date(*value) : std::nullopt;
}

// What the conditions of a GET or HEAD come to: 0 go on, 304 or 412 (RFC 9110 13.2.2). A validator that was not
// recorded cannot fail a condition.
int judge_conditions(const Headers& request, const Headers& recorded) {
  const auto tag = recorded.find("etag");
  const auto modified = date_in(recorded, "last-modified");
  if (request.count("if-match") > 0) {
    if (tag && !list_holds(request, "if-match", *tag, Comparison::Strong)) return 412;
  } else if (const auto since = date_in(request, "if-unmodified-since")) {
    if (modified && *modified > *since) return 412;
  }
  if (request.count("if-none-match") > 0) {
    return list_holds(request, "if-none-match", tag.value_or(""), Comparison::Weak) ? 304 : 0;
  }
  if (const auto since = date_in(request, "if-modified-since")) {
    if (modified && *modified <= *since) return 304;
  }
  return 0;
}

// If-Range names the recorded version (RFC 9110 13.1.5), or is not there.
bool range_applies(const Headers& request, const Headers& recorded) {
  const auto wanted = request.find("if-range");
  if (!wanted) return true;
  if (wanted->find('"') != std::string_view::npos) {
    const auto tag = recorded.find("etag");
    return tag && list_holds(request, "if-range", *tag, Comparison::Strong);
  }
  const auto date = parse_http_date(*wanted);
  return date && date == date_in(recorded, "last-modified");
}

struct Range {
  uint64_t first = 0, length = 0;
};
enum class RangeVerdict { Ignore, One, Unsatisfiable };

std::optional<uint64_t> number(std::string_view digits) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (digits.empty() || end != digits.data() + digits.size()) return std::nullopt;
  if (error == std::errc::result_out_of_range) return UINT64_MAX;
  return error == std::errc() ? std::optional(value) : std::nullopt;
}

// RFC 9110 14.1.1. Several satisfiable ranges are answered by the whole (14.2 allows it): no multipart is made.
RangeVerdict parse_range(std::string_view field, uint64_t size, Range& out) {
  if (field.size() < 6 || !http::iequals(field.substr(0, 6), "bytes=")) return RangeVerdict::Ignore;
  std::string_view rest = field.substr(6);
  size_t satisfiable = 0;
  while (true) {
    const size_t comma = rest.find(',');
    const std::string_view spec = http::trim_ows(rest.substr(0, comma));
    const size_t dash = spec.find('-');
    if (dash == std::string_view::npos) return RangeVerdict::Ignore;
    const auto from = number(spec.substr(0, dash));
    const auto to = number(spec.substr(dash + 1));
    if ((dash > 0 && !from) || (dash + 1 < spec.size() && !to) || (!from && !to)) return RangeVerdict::Ignore;
    if (from && to && *to < *from) return RangeVerdict::Ignore;
    if (!from && *to > 0 && size > 0) {
      ++satisfiable;
      out.length = std::min(*to, size);
      out.first = size - out.length;
    } else if (from && *from < size) {
      ++satisfiable;
      out.first = *from;
      out.length = std::min(to.value_or(size - 1), size - 1) - *from + 1;
    }
    if (comma == std::string_view::npos) break;
    rest = rest.substr(comma + 1);
  }
  if (satisfiable == 0) return RangeVerdict::Unsatisfiable;
  return satisfiable == 1 ? RangeVerdict::One : RangeVerdict::Ignore;
}

void remove_all(Headers& headers, std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names) headers.remove(name);
}

// Of the bytes that are sent (RFC 9530 2).
void remove_content_digests(Headers& headers) {
  remove_all(headers, {"content-digest", "content-md5"});
}

// Also of the whole representation, in its coding (RFC 9530 3; Digest is the name of RFC 3230).
void remove_digests(Headers& headers) {
  remove_content_digests(headers);
  remove_all(headers, {"repr-digest", "digest"});
}

// 304 and 412 say nothing of a body that is not there.
Rendition without_body(const http::ResponseHead& recorded, int status, std::string_view reason) {
  Rendition out;
  out.body = Rendition::Body::Nothing;
  out.head = recorded;
  out.head.status = status;
  out.head.reason = reason;
  remove_all(out.head.headers, {"content-length", "content-type", "content-encoding", "content-language",
                                "content-range", "transfer-encoding", "trailer"});
  remove_content_digests(out.head.headers);
  if (status == 304) return out;
  remove_digests(out.head.headers);
  out.head.headers.add("Content-Length", "0");
  return out;
}

// The same condition was in the recorded request: then the recording is the origin's own answer to it.
bool was_asked(const http::RequestHead& request, const store::Recording& recording, std::string_view name) {
  return request.headers.find(name) == recording.request.headers.find(name);
}

size_t next_of(const Headers& headers, size_t from, std::string_view name) {
  while (from < headers.size() && !http::iequals(headers[from].name, name)) ++from;
  return from;
}

// All of them, in their order.
bool had_the_same(const http::RequestHead& request, const store::Recording& recording, std::string_view name) {
  const Headers& now = request.headers;
  const Headers& then = recording.request.headers;
  size_t i = next_of(now, 0, name);
  size_t j = next_of(then, 0, name);
  while (i < now.size() && j < then.size() && now[i].value == then[j].value) {
    i = next_of(now, i + 1, name);
    j = next_of(then, j + 1, name);
  }
  return i >= now.size() && j >= then.size();
}

std::optional<Rendition> render_range(const http::RequestHead& request, const store::Recording& recording) {
  const auto field = request.headers.find("range");
  const Headers& recorded = recording.response.headers;
  if (!field || request.headers.count("range") > 1 || was_asked(request, recording, "range")) return std::nullopt;
  if (recorded.has_token("accept-ranges", "none") || !range_applies(request.headers, recorded)) return std::nullopt;
  const uint64_t size = recording.response_body.size;
  Range range;
  const std::string total = std::to_string(size);
  switch (parse_range(http::trim_ows(*field), size, range)) {
    case RangeVerdict::Ignore:
      return std::nullopt;
    case RangeVerdict::Unsatisfiable: {
      Rendition out = without_body(recording.response, 416, "Range Not Satisfiable");
      out.head.headers.add("Content-Range", "bytes */" + total);
      return out;
    }
    case RangeVerdict::One:
      break;
  }
  Rendition out;
  out.body = Rendition::Body::Range;
  out.first = range.first;
  out.length = range.length;
  out.head = recording.response;
  out.head.status = 206;
  out.head.reason = "Partial Content";
  remove_all(out.head.headers, {"transfer-encoding", "trailer"});
  remove_content_digests(out.head.headers);
  out.head.headers.set("Content-Length", std::to_string(range.length));
  out.head.headers.set("Content-Range", "bytes " + std::to_string(range.first) + "-" +
                                            std::to_string(range.first + range.length - 1) + "/" + total);
  return out;
}

// What this client is to get instead of the recorded coding; nullopt: the recorded one.
std::optional<coding::Coding> coding_for(const http::RequestHead& request, const store::Recording& recording,
                                         const std::vector<coding::Coding>& codings) {
  // Asked alike, answered alike: origins give codings that nobody asked for (a .tar.gz as gzip), and clients keep them.
  if (had_the_same(request, recording, "accept-encoding")) return std::nullopt;
  // Who does not send the field takes anything (RFC 9110 12.5.3), and in practice often cannot.
  if (request.headers.count("accept-encoding") == 0) return coding::Coding::Identity;
  const coding::Accepted accepted(request.headers);
  if (std::ranges::all_of(codings, [&](coding::Coding coding) { return accepted.takes(coding); })) return std::nullopt;
  return accepted.takes(coding::Coding::Identity) ? coding::Coding::Identity : accepted.best();
}

std::optional<Rendition> render_coding(const http::RequestHead& request, const store::Recording& recording) {
  const auto codings = coding::codings_of(recording.response.headers);
  if (!codings || codings->empty()) return std::nullopt;
  const auto wanted = coding_for(request, recording, *codings);
  if (!wanted) return std::nullopt;
  Rendition out;
  out.body = Rendition::Body::Recoded;
  out.decode = *codings;
  out.encode = *wanted;
  out.head = recording.response;
  Headers& headers = out.head.headers;
  headers.remove("content-encoding");
  if (*wanted != coding::Coding::Identity) headers.add("Content-Encoding", coding::to_string(*wanted));
  remove_all(headers, {"content-length", "accept-ranges"});
  remove_digests(headers);
  out.trailers = recording.response_trailers;
  remove_digests(out.trailers);
  if (out.trailers.empty()) headers.remove("trailer");
  // Another representation, the same content: what a weak tag means (RFC 9110 8.8.1).
  if (const auto tag = headers.find("etag"); tag && !tag->starts_with("W/")) {
    headers.set("ETag", "W/" + std::string(*tag));
  }
  if (!headers.has_token("vary", "accept-encoding") && !headers.has_token("vary", "*")) {
    headers.add("Vary", "Accept-Encoding");
  }
  return out;
}

}  // namespace

std::optional<Rendition> render(const http::RequestHead& request, const store::Recording& recording) {
  if (recording.outcome.kind != Outcome::Kind::Complete) return std::nullopt;
  const bool is_read = request.method == "GET" || request.method == "HEAD";
  // A part of a coded body cannot be decoded.
  const bool has_whole_body = !recording.response_body.empty() && recording.response.status != 206;
  auto recoded = has_whole_body ? render_coding(request, recording) : std::nullopt;
  if (is_read && recording.response.status == 200 && condition_of(request) != condition_of(recording.request)) {
    const int verdict = judge_conditions(request.headers, recording.response.headers);
    // The ETag and Vary of the 200 it stands for (RFC 9110 15.4.5).
    if (verdict == 304) return without_body(recoded ? recoded->head : recording.response, 304, "Not Modified");
    if (verdict == 412) return without_body(recording.response, 412, "Precondition Failed");
  }
  if (!has_whole_body || recoded) return recoded;
  if (request.method != "GET" || recording.response.status != 200) return std::nullopt;
  return render_range(request, recording);
}

bool plays_as_recorded(const http::RequestHead& request, const store::Recording& recording) {
  for (size_t i = 0; i < request.headers.size(); ++i) {
    const std::string_view name = request.headers[i].name;
    if (name.size() < 5 || ((name[0] | 0x20) != 'i' && (name[0] | 0x20) != 'r')) continue;
    for (const std::string_view condition : kConditions) {
      if (http::iequals(name, condition)) return false;
    }
  }
  const auto coded = recording.response.headers.find("content-encoding");
  return !coded || !render(request, recording);
}

std::string condition_of(const http::RequestHead& request) {
  std::string out;
  for (const std::string_view condition : kConditions) {
    for (size_t i = 0; i < request.headers.size(); ++i) {
      const Headers::Field field = request.headers[i];
      if (!http::iequals(field.name, condition)) continue;
      out += condition;
      out += ':';
      out += http::trim_ows(field.value);
      out += '\n';
    }
  }
  return out;
}

bool answers_a_condition(int status) {
  return status == 304 || status == 206 || status == 412 || status == 416;
}

std::optional<int64_t> parse_http_date(std::string_view text) {
  const std::string value(http::trim_ows(text));
  // IMF-fixdate, RFC 850, asctime. strptime reads names in the locale of the process, which is "C".
  for (const char* format : {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y"}) {
    std::tm fields{};
    const char* end = ::strptime(value.c_str(), format, &fields);
    if (end != nullptr && *end == '\0') return static_cast<int64_t>(::timegm(&fields));
  }
  return std::nullopt;
}

}  // namespace tapdeck::modes
