// Row keys and small rows of the store; see store_impl.h for the layout.
#include <chrono>

#include "store/store_impl.h"

namespace tapdeck::store {

const char* name_of(Family family) {
  static constexpr const char* kNames[kFamilies] = {"default", "meta",      "sessions", "recordings", "match",
                                                    "blobs",   "blob_refs", "origins",  "partial"};
  return kNames[static_cast<size_t>(family)];
}

std::string session_prefix(uint32_t session) {
  std::string out;
  ByteWriter(out).u32(session);
  return out;
}

void make_recording_key(std::string& out, uint32_t session, uint64_t id) {
  out.clear();
  ByteWriter writer(out);
  writer.u32(session);
  writer.u64(id);
}

void make_match_row(std::string& out, uint32_t session, const Key& key, uint64_t take, uint64_t id) {
  out.clear();
  ByteWriter writer(out);
  writer.u32(session);
  writer.bytes(key.bytes);
  writer.u64(~take);
  writer.u64(id);
}

void make_reference_row(std::string& out, const Digest& digest, uint64_t id) {
  out = view(digest).substr(0, 16);
  ByteWriter(out).u64(id);
}

std::string recording_key(uint32_t session, uint64_t id) {
  std::string out;
  make_recording_key(out, session, id);
  return out;
}

std::string match_prefix(uint32_t session, const Key& key) {
  std::string out;
  ByteWriter writer(out);
  writer.u32(session);
  writer.bytes(key.bytes);
  return out;
}

std::string match_row(uint32_t session, const Key& key, uint64_t take, uint64_t id) {
  std::string out;
  out.reserve(52);
  make_match_row(out, session, key, take, id);
  return out;
}

std::string reference_prefix(const Digest& digest) {
  return std::string(view(digest).substr(0, 16));
}

std::string reference_row(const Digest& digest, uint64_t id) {
  std::string out;
  make_reference_row(out, digest, id);
  return out;
}

std::string origin_row(uint32_t session, uint16_t port, std::string_view host) {
  std::string out = session_prefix(session);
  ByteWriter writer(out);
  writer.byte(static_cast<uint8_t>(port >> 8));
  writer.byte(static_cast<uint8_t>(port & 255));
  out += host;
  return out;
}

std::string alpn_row(std::string origin, std::string_view offered) {
  origin += '\0';
  return origin.append(offered);
}

std::string partial_row(uint64_t id) {
  std::string out;
  ByteWriter writer(out);
  writer.u64(id);
  writer.byte(0);
  return out;
}

std::string partial_part(uint64_t id, uint32_t part) {
  std::string out;
  ByteWriter writer(out);
  writer.u64(id);
  writer.byte(1);
  writer.u32(part);
  return out;
}

uint64_t id_of_row(std::string_view row) {
  return row.size() < 8 ? 0 : ByteReader(row.substr(row.size() - 8)).u64();
}

std::string after_prefix(std::string prefix) {
  while (!prefix.empty() && static_cast<uint8_t>(prefix.back()) == 0xff) prefix.pop_back();
  if (!prefix.empty()) prefix.back() = static_cast<char>(static_cast<uint8_t>(prefix.back()) + 1);
  return prefix;
}

void encode_session(const SessionRow& row, std::string& out) {
  ByteWriter writer(out);
  writer.byte(1);
  writer.string(row.name);
  writer.varint(row.takes);
  writer.varint(row.recordings);
  writer.varint(row.bytes);
  writer.varint(row.record_bytes);
  writer.u64(static_cast<uint64_t>(row.created_unix_us));
  writer.u64(static_cast<uint64_t>(row.last_recorded_unix_us));
  writer.byte(row.hidden ? 1 : 0);
  writer.byte(row.secret ? 1 : 0);
  if (row.secret) writer.bytes(*row.secret);
}

Result<SessionRow> decode_session(std::string_view bytes) {
  ByteReader reader(bytes);
  const uint8_t version = reader.byte();
  SessionRow row;
  row.name = reader.string();
  row.takes = reader.varint();
  row.recordings = reader.varint();
  row.bytes = reader.varint();
  row.record_bytes = reader.varint();
  row.created_unix_us = static_cast<int64_t>(reader.u64());
  row.last_recorded_unix_us = static_cast<int64_t>(reader.u64());
  row.hidden = reader.byte() != 0;
  if (reader.byte() != 0) row.secret = reader.bytes<32>();
  if (version != 1 || !reader.ok() || reader.left() != 0)
    return fail(Code::Corrupt, "session row does not decode", Origin::Store);
  return row;
}

void encode_origin(const OriginFacts& facts, std::string& out) {
  ByteWriter writer(out);
  writer.byte(1);
  writer.string(facts.alpn);
  writer.string(facts.tls_version);
  writer.string(facts.verify_failure);
  writer.string(facts.peer_certificate_sha256);
}

Result<OriginFacts> decode_origin(std::string_view bytes) {
  ByteReader reader(bytes);
  const uint8_t version = reader.byte();
  OriginFacts facts;
  facts.alpn = reader.string();
  facts.tls_version = reader.string();
  facts.verify_failure = reader.string();
  facts.peer_certificate_sha256 = reader.string();
  if (version != 1 || !reader.ok() || reader.left() != 0)
    return fail(Code::Corrupt, "origin row does not decode", Origin::Store);
  return facts;
}

bool is_full(const rocksdb::Status& status) {
  return status.IsNoSpace() || status.ToString().contains("No space left");
}

std::unexpected<Error> fail_status(const rocksdb::Status& status, const std::string& what) {
  const std::string text = status.ToString();
  Code code = Code::Io;
  if (is_full(status)) code = Code::NoSpace;
  if (status.IsCorruption()) code = Code::Corrupt;
  if (text.find("Permission denied") != std::string::npos) code = Code::Permission;
  std::string detail = what + ": " + text;
  if (code == Code::NoSpace) detail += kFreeSpace;
  return fail(code, std::move(detail), Origin::Store);
}

}  // namespace tapdeck::store
