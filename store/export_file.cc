#include "store/export_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "store/byte_codec.h"

namespace tapdeck::store {
namespace {

constexpr std::string_view kMagic = "TAPDECK-SESSION\n";
constexpr char kVersion = 1;
constexpr size_t kBuffer = 1 << 20;
// No frame of ours is larger: a segment is 256 KiB, a record its heads and timelines.
constexpr uint64_t kFrameLimit = 64ull << 20;

std::string_view text_of(const Digest& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

}  // namespace

Result<ExportWriter> ExportWriter::create(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd && errno == EEXIST) return fail(Code::AlreadyExists, path + " exists; choose another file", Origin::Store);
  if (!fd) return fail_errno(errno, "create " + path, Origin::Store);
  ExportWriter writer(path, std::move(fd));
  TRY_VOID(writer.put(std::string(kMagic) + kVersion));
  return writer;
}

Result<ExportWriter> ExportWriter::into(UniqueFd file) {
  ExportWriter writer({}, std::move(file));
  TRY_VOID(writer.put(std::string(kMagic) + kVersion));
  return writer;
}

ExportWriter::~ExportWriter() {
  if (fd_ && !path_.empty()) ::unlink(path_.c_str());
}

Result<void> ExportWriter::put(std::string_view bytes) {
  sha_.update(bytes);
  buffer_ += bytes;
  return buffer_.size() < kBuffer ? Result<void>{} : flush();
}

Result<void> ExportWriter::flush() {
  std::string_view left = buffer_;
  while (!left.empty()) {
    const ssize_t n = ::write(fd_.get(), left.data(), left.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, "write " + (path_.empty() ? "the export" : path_), Origin::Store);
    left.remove_prefix(static_cast<size_t>(n));
  }
  buffer_.clear();
  return {};
}

Result<void> ExportWriter::frame(Frame type, std::string_view payload) {
  std::string head(1, static_cast<char>(type));
  ByteWriter(head).varint(payload.size());
  TRY_VOID(put(head));
  return put(payload);
}

Result<void> ExportWriter::finish() {
  buffer_ += text_of(sha_.finish());
  TRY_VOID(flush());
  if (!path_.empty() && ::fsync(fd_.get()) != 0) return fail_errno(errno, "sync " + path_, Origin::Store);
  fd_.reset();
  return {};
}

Result<ExportReader> ExportReader::open(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));  // a pipe must not stop us
  if (!fd) return fail_errno(errno, "open " + path, Origin::Store);
  struct stat status{};
  if (::fstat(fd.get(), &status) == 0 && !S_ISREG(status.st_mode)) {  // it is read twice
    return fail(Code::InvalidArgument, path + " is no regular file: save what comes out of a pipe first",
                Origin::Store);
  }
  ExportReader reader(path, std::move(fd));
  auto magic = reader.take(kMagic.size());
  if (!magic && magic.error().code != Code::Truncated) return std::unexpected(magic.error());
  if (!magic || *magic != kMagic) return fail(Code::Corrupt, path + " is not a tapdeck session export", Origin::Store);
  TRY(version, reader.take(1));
  if (version[0] != kVersion) {
    return fail(
        Code::Unsupported,
        path + " has export format " + std::to_string(static_cast<uint8_t>(version[0])) + ", this tapdeck reads 1",
        Origin::Store);
  }
  return reader;
}

Result<bool> ExportReader::fill() {
  buffer_.erase(0, used_);
  used_ = 0;
  const size_t old = buffer_.size();
  buffer_.resize(old + kBuffer);
  ssize_t n = 0;
  do {
    n = ::read(fd_.get(), buffer_.data() + old, kBuffer);
  } while (n < 0 && errno == EINTR);
  buffer_.resize(old + static_cast<size_t>(std::max<ssize_t>(n, 0)));
  if (n < 0) return fail_errno(errno, "read " + path_, Origin::Store);
  return n > 0;
}

Result<std::string> ExportReader::take(size_t n) {
  while (buffer_.size() - used_ < n) {
    TRY(more, fill());
    if (!more) return fail(Code::Truncated, path_ + " ends too early; copy it again", Origin::Store);
  }
  std::string out = buffer_.substr(used_, n);
  used_ += n;
  sha_.update(out);
  return out;
}

Result<uint64_t> ExportReader::varint() {
  std::string bytes;
  do {
    TRY(next, take(1));
    bytes += next;
  } while ((bytes.back() & 0x80) != 0 && bytes.size() < 10);
  ByteReader reader(bytes);
  const uint64_t value = reader.varint();
  if (!reader.ok()) return fail(Code::Corrupt, path_ + " has a malformed length", Origin::Store);
  return value;
}

Result<ExportReader::Item> ExportReader::next() {
  TRY(type, take(1));
  TRY(size, varint());
  if (size > kFrameLimit) return fail(Code::Corrupt, path_ + " has a frame of impossible size", Origin::Store);
  TRY(payload, take(static_cast<size_t>(size)));
  Item item{static_cast<Frame>(type[0]), std::move(payload)};
  if (item.type == Frame::End) TRY_VOID(verify_end());
  return item;
}

Result<void> ExportReader::verify_end() {
  Sha256 so_far = sha_;
  const Digest expected = so_far.finish();
  TRY(stored, take(expected.size()));
  if (stored != text_of(expected)) return fail(Code::Corrupt, path_ + " fails its checksum", Origin::Store);
  if (buffer_.size() != used_) return fail(Code::Corrupt, path_ + " has bytes after its end", Origin::Store);
  TRY(more, fill());
  if (more) return fail(Code::Corrupt, path_ + " has bytes after its end", Origin::Store);
  return {};
}

}  // namespace tapdeck::store
