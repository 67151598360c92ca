#include "store/record_codec.h"

#include "store/byte_codec.h"

namespace tapdeck::store {
namespace {

// One list of fields serves both directions, so they cannot disagree: `Encode` takes const values, `Decode` fills them.
struct Encode {
  static constexpr bool kReads = false;
  ByteWriter out;
  uint8_t version = kRecordVersion;

  void number(uint64_t value) { out.varint(value); }
  template <class E>
  void enumeration(E value, E /*last*/) {
    out.byte(static_cast<uint8_t>(value));
  }
  void flag(bool value) { out.byte(value ? 1 : 0); }
  void string(const std::string& value) { out.string(value); }
  void digest(const Digest& value) { out.bytes(value); }
  void fixed64(int64_t value) { out.u64(static_cast<uint64_t>(value)); }
  void headers(const http::Headers& value) {
    out.varint(value.size());
    for (size_t i = 0; i < value.size(); ++i) {
      out.string(value[i].name);
      out.string(value[i].value);
    }
  }
  void address(const Endpoint& value) {
    out.byte(static_cast<uint8_t>(value.family));
    if (value.family == Endpoint::Family::None) return;
    out.varint(value.port);
    out.varint(value.scope_id);
    out.bytes(value.address);
  }
  template <class T, class F>
  void list(const std::vector<T>& values, F each) {
    out.varint(values.size());
    for (const auto& value : values) each(value);
  }
};

struct Decode {
  static constexpr bool kReads = true;
  ByteReader in;
  uint8_t version = kRecordVersion;

  template <class T>
  void number(T& value) {
    value = in.number<T>();
  }
  template <class E>
  void enumeration(E& value, E last) {
    const uint8_t raw = in.byte();
    if (raw > static_cast<uint8_t>(last)) return in.fail();
    value = static_cast<E>(raw);
  }
  void flag(bool& value) {
    const uint8_t raw = in.byte();
    if (raw > 1) return in.fail();
    value = raw == 1;
  }
  void string(std::string& value) { value = in.string(); }
  void digest(Digest& value) { value = in.bytes<32>(); }
  void fixed64(int64_t& value) { value = static_cast<int64_t>(in.u64()); }
  void headers(http::Headers& value) {
    for (uint64_t n = in.varint(); n > 0 && in.ok(); --n) {
      const auto name = in.string();
      const auto field = in.string();
      if (in.ok()) value.add(name, field);
    }
  }
  void address(Endpoint& value) {
    const uint8_t family = in.byte();
    if (family == 0) return;
    if (family != 4 && family != 6) return in.fail();
    value.family = static_cast<Endpoint::Family>(family);
    value.port = in.number<uint16_t>();
    value.scope_id = in.number<uint32_t>();
    value.address = in.bytes<16>();
  }
  // Grows as elements really arrive: a forged count allocates nothing.
  template <class T, class F>
  void list(std::vector<T>& values, F each) {
    for (uint64_t n = in.varint(); n > 0 && in.ok(); --n) each(values.emplace_back());
  }
};

template <class A, class T>
void status(A& a, T& value) {
  if constexpr (A::kReads) {
    value = static_cast<int>(a.in.template number<uint16_t>());
  } else {
    a.number(static_cast<uint64_t>(value));
  }
}

template <class A, class Head>
void response(A& a, Head& head) {
  status(a, head.status);
  a.string(head.reason);
  a.enumeration(head.version, http::Version::Http2);
  a.headers(head.headers);
}

template <class A, class Body>
void body(A& a, Body& value) {
  a.number(value.size);
  if (value.size == 0) return;  // most request bodies: one byte
  a.string(value.inline_bytes);
  a.list(value.segments, [&a](auto& segment) {
    a.digest(segment.digest);
    a.number(segment.size);
  });
  a.list(value.timeline, [&a](auto& chunk) {
    a.enumeration(chunk.kind, Chunk::Kind::H1Chunk);
    a.number(chunk.offset);
    a.number(chunk.length);
    a.number(chunk.microseconds);
    a.string(chunk.extension);
  });
}

template <class A, class P>
void provenance(A& a, P& value) {
  a.string(value.target);
  a.number(value.cgroup_id);
  a.number(value.netns_cookie);
  a.number(value.pid);
  a.number(value.uid);
  a.string(value.comm);
  a.address(value.client);
  a.address(value.original_destination);
  a.string(value.capture_path);
  a.string(value.sni);
  a.string(value.alpn);
  a.string(value.tls_version);
  a.string(value.upstream_alpn);
  a.string(value.peer_certificate_sha256);
  a.string(value.upstream_verify_failure);
  a.string(value.route);
  a.number(value.timings.dns);
  a.number(value.timings.connect);
  a.number(value.timings.tls);
  a.number(value.timings.first_byte);
  a.number(value.timings.total);
  if (a.version >= 3) a.number(value.timings.head);
}

template <class A, class M>
void message(A& a, M& value) {
  a.enumeration(value.side, BodySide::Response);
  a.enumeration(value.kind, Message::Kind::GrpcEnd);
  a.flag(value.compressed);
  a.number(value.code);
  a.number(value.offset);
  a.number(value.length);
  a.number(value.microseconds);
}

template <class A, class R>
void fields(A& a, R& r) {
  a.number(r.take);
  a.fixed64(r.started_unix_us);
  a.digest(r.key.bytes);
  a.digest(r.request_body_digest);
  a.list(r.dimensions, [&a](auto& dimension) {
    a.string(dimension.name);
    a.digest(dimension.value);
  });
  a.string(r.scheme);
  a.string(r.host);
  a.number(r.port);
  a.string(r.request.method);
  a.string(r.request.target);
  a.enumeration(r.request.version, http::Version::Http2);
  a.string(r.request.scheme);
  a.string(r.request.authority);
  if (a.version >= 2) a.string(r.request.protocol);
  a.headers(r.request.headers);
  body(a, r.request_body);
  a.headers(r.request_trailers);
  a.list(r.informational, [&a](auto& head) { response(a, head); });
  response(a, r.response);
  body(a, r.response_body);
  a.headers(r.response_trailers);
  a.enumeration(r.outcome.kind, Outcome::Kind::Incomplete);
  a.number(r.outcome.at_bytes);
  a.string(r.outcome.reason);
  if (a.version >= 2) {
    a.number(r.outcome.code);
    a.list(r.messages, [&a](auto& value) { message(a, value); });
  }
  provenance(a, r.provenance);
}

// A body's parts must add up to its size, or readers would trust a length that is not there.
bool is_consistent(const BodyRef& value) {
  uint64_t sum = value.inline_bytes.size();
  for (const auto& segment : value.segments) {
    if (segment.size > value.size) return false;
    sum += segment.size;
  }
  if (!value.inline_bytes.empty() && !value.segments.empty()) return false;
  for (const auto& chunk : value.timeline) {
    if (chunk.offset > value.size || chunk.length > value.size - chunk.offset) return false;
  }
  return sum == value.size;
}

bool is_consistent(const Recording& value) {
  for (const auto& message : value.messages) {
    const uint64_t size = (message.side == BodySide::Request ? value.request_body : value.response_body).size;
    if (message.offset > size || message.length > size - message.offset) return false;
  }
  return is_consistent(value.request_body) && is_consistent(value.response_body);
}

// Before version 3 the code of a reset was an errno, or left open, also where an h2 stream ended with INTERNAL_ERROR.
void name_reset(Recording& value) {
  constexpr uint32_t kInternalError = 2, kLastOfHttp2 = 0xd;
  const bool is_reset = value.outcome.kind == Outcome::Kind::Reset && value.response.version == http::Version::Http2;
  uint32_t& code = value.outcome.code;
  if (is_reset && (code == 0 || code > kLastOfHttp2)) code = kInternalError;
}

}  // namespace

void encode_record(const Recording& recording, std::string& out) {
  // Typical: 300 bytes of heads each way, 200 of provenance; one growth instead of six.
  out.reserve(out.size() + 384 + recording.request.headers.bytes() + recording.response.headers.bytes() +
              recording.response_body.inline_bytes.size() + recording.request_body.inline_bytes.size());
  Encode encode{ByteWriter(out), recording.version};
  encode.out.byte(recording.version);
  fields(encode, recording);
}

void encode_messages(const std::vector<Message>& messages, std::string& out) {
  Encode encode{ByteWriter(out)};
  encode.list(messages, [&encode](const Message& value) { message(encode, value); });
}

Result<std::vector<Message>> decode_messages(std::string_view bytes) {
  Decode decode{ByteReader(bytes)};
  std::vector<Message> out;
  decode.list(out, [&decode](Message& value) { message(decode, value); });
  if (!decode.in.ok() || decode.in.left() != 0) return fail(Code::Corrupt, "messages do not decode", Origin::Store);
  return out;
}

Result<Recording> decode_record(std::string_view bytes) {
  Decode decode{ByteReader(bytes)};
  const uint8_t version = decode.in.byte();
  if (!decode.in.ok() || version == 0) return fail(Code::Corrupt, "recording without a version", Origin::Store);
  if (version > kRecordVersion) {
    return fail(Code::Unsupported,
                "recording of format " + std::to_string(version) + ", this tapdeck reads up to " +
                    std::to_string(kRecordVersion) + "; use the newer tapdeck that wrote it",
                Origin::Store);
  }
  decode.version = version;
  Recording out;
  out.version = version;
  fields(decode, out);
  if (version < 3) name_reset(out);
  if (!decode.in.ok() || decode.in.left() != 0 || !is_consistent(out))
    return fail(Code::Corrupt, "recording does not decode (" + std::to_string(bytes.size()) + " bytes)", Origin::Store);
  return out;
}

}  // namespace tapdeck::store
