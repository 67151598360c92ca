// Export files: the framed, checksummed container of one session. Layout in docs/EXPORT_FORMAT.md. Internal to store/.
//
// A file is a magic, a version byte, frames (type, varint length, payload) and, after the End frame, the SHA-256 of
// everything before it. Streaming both ways; memory is one frame. Thread: one at a time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"
#include "store/match_key.h"

namespace tapdeck::store {

enum class Frame : uint8_t { Session = 'S', Blob = 'B', Recording = 'R', Origin = 'O', End = 'E' };

class ExportWriter {
 public:
  // Creates `path` 0600; AlreadyExists when there is such a file. Removed again unless finish() succeeded.
  [[nodiscard]] static Result<ExportWriter> create(const std::string& path);
  // Into a file that is open, empty and without a name: nothing is removed, and nothing synced.
  [[nodiscard]] static Result<ExportWriter> into(UniqueFd file);
  ExportWriter(ExportWriter&& other) noexcept = default;
  ExportWriter& operator=(ExportWriter&&) = delete;
  ~ExportWriter();
  [[nodiscard]] Result<void> frame(Frame type, std::string_view payload);
  // Writes the checksum, syncs what has a name, closes.
  [[nodiscard]] Result<void> finish();

 private:
  ExportWriter(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}
  [[nodiscard]] Result<void> put(std::string_view bytes);
  [[nodiscard]] Result<void> flush();
  std::string path_;  // empty: it has none
  UniqueFd fd_;
  std::string buffer_;
  Sha256 sha_;
};

class ExportReader {
 public:
  // Errors: NotFound, Io, Corrupt (not an export), Unsupported (newer version).
  [[nodiscard]] static Result<ExportReader> open(const std::string& path);
  struct Item {
    Frame type = Frame::End;
    std::string payload;
  };
  // The next frame. Truncated when the file ends inside one. After End the checksum and the end of the file have been
  // verified (Corrupt); do not call again.
  [[nodiscard]] Result<Item> next();

 private:
  ExportReader(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}
  [[nodiscard]] Result<std::string> take(size_t n);
  [[nodiscard]] Result<uint64_t> varint();
  [[nodiscard]] Result<void> verify_end();
  [[nodiscard]] Result<bool> fill();  // false at the end of the file
  std::string path_;
  UniqueFd fd_;
  std::string buffer_;
  size_t used_ = 0;
  Sha256 sha_;
};

}  // namespace tapdeck::store
