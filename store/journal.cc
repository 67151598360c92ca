#include "store/journal.h"

#include <algorithm>
#include <utility>

#include "store/byte_codec.h"
#include "store/record_codec.h"

namespace tapdeck::store {

void encode_journal(const JournalEntry& entry, std::string& out) {
  ByteWriter writer(out);
  for (const size_t side : {0U, 1U}) {
    writer.varint(entry.offset[side]);
    writer.string(entry.bytes[side]);
  }
  encode_messages(entry.messages, out);
}

Result<JournalEntry> decode_journal(std::string_view bytes) {
  ByteReader reader(bytes);
  JournalEntry entry;
  for (const size_t side : {0U, 1U}) {
    entry.offset[side] = reader.varint();
    entry.bytes[side] = reader.string();
  }
  if (!reader.ok()) return fail(Code::Corrupt, "journal of an unfinished recording does not decode", Origin::Store);
  TRY(messages, decode_messages(reader.rest()));
  entry.messages = std::move(messages);
  return entry;
}

void JournalMerge::add(JournalEntry entry) {
  entries_.push_back(std::move(entry));
}

std::string JournalMerge::tail(BodySide side, uint64_t size) const {
  const auto index = static_cast<size_t>(side);
  std::string out;
  for (const JournalEntry& entry : entries_) {
    const uint64_t begin = entry.offset[index], end = begin + entry.bytes[index].size(), have = size + out.size();
    if (end <= have || begin > have) continue;  // in a segment already, or behind something that was lost
    out.append(entry.bytes[index], static_cast<size_t>(have - begin));
  }
  return out;
}

std::vector<Message> JournalMerge::messages(uint64_t request_size, uint64_t response_size) const {
  std::vector<Message> out;
  for (const JournalEntry& entry : entries_) {
    for (const Message& message : entry.messages) {
      const uint64_t size = message.side == BodySide::Request ? request_size : response_size;
      if (message.offset > size || message.length > size - message.offset) return out;  // a prefix, without holes
      out.push_back(message);
    }
  }
  return out;
}

}  // namespace tapdeck::store
