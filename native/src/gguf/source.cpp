#include "luci/gguf/source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace luci::gguf {

namespace {

constexpr size_t FIRST_WINDOW = 64 * 1024;

// When the contents were last changed.
const timespec & changed_at(const struct stat & status) {
#ifdef __APPLE__
    return status.st_mtimespec;
#else
    return status.st_mtim;
#endif
}

void report_errno(const std::string & path, int number, Findings & findings) {
    const std::string name = shown(path, 200);
    if (number == ENOENT || number == ENOTDIR) {
        findings.fatal("F01", 0, "There is no file " + name + ". Check the name.");
    }
    if (number == ELOOP) {
        findings.fatal("F04", 0,
                       name + " is a link that leads back to itself. Name the file itself.");
    }
    if (number == EACCES || number == EPERM) {
        findings.fatal("F05", 0, name + " may not be read by this user. Change its permissions.");
    }
    findings.fatal("F07", 0,
                   name + " cannot be read (" + std::strerror(number) + "). Check the disk.");
}

}  // namespace

size_t BufferSource::read(uint64_t offset, void * into, size_t n_bytes) const {
    if (offset >= size_) {
        return 0;
    }
    const size_t n_given = std::min<uint64_t>(n_bytes, size_ - offset);
    std::memcpy(into, bytes_.data() + offset, n_given);
    return n_given;
}

FileSource::FileSource(const std::string & path, Findings & findings) {
    if (path.find('\0') != std::string::npos) {
        findings.fatal("F01", 0,
                       "There is no file " + shown(path, 200) + ": a name has no zero byte.");
    }
    // O_NONBLOCK: opening a FIFO must not wait for a writer.
    fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd_ < 0) {
        report_errno(path, errno, findings);
    }
    struct stat status{};
    if (::fstat(fd_, &status) != 0) {
        const int number = errno;
        ::close(fd_);
        report_errno(path, number, findings);
    }
    if (!S_ISREG(status.st_mode)) {
        ::close(fd_);
        const std::string name = shown(path, 200);
        if (S_ISDIR(status.st_mode)) {
            findings.fatal("F02", 0, name + " is a folder. Name a file in it.");
        }
        findings.fatal("F03", 0, name + " is a device, a pipe or a socket. Name a regular file.");
    }
    size_ = static_cast<uint64_t>(status.st_size);
    changed_s_ = changed_at(status).tv_sec;
    changed_ns_ = changed_at(status).tv_nsec;
}

FileSource::~FileSource() {
    if (fd_ >= 0) {
        ::close(fd_);
    }
}

size_t FileSource::read(uint64_t offset, void * into, size_t n_bytes) const {
    size_t n_done = 0;
    while (n_done < n_bytes) {
        const ssize_t n_read = ::pread(fd_, static_cast<char *>(into) + n_done, n_bytes - n_done,
                                       static_cast<off_t>(offset + n_done));
        if (n_read < 0 && errno == EINTR) {
            continue;
        }
        if (n_read <= 0) {
            break;
        }
        n_done += static_cast<size_t>(n_read);
    }
    return n_done;
}

void FileSource::check_unchanged(Findings & findings) const {
    struct stat status{};
    const bool is_same =
        ::fstat(fd_, &status) == 0 && static_cast<uint64_t>(status.st_size) == size_ &&
        changed_at(status).tv_sec == changed_s_ && changed_at(status).tv_nsec == changed_ns_;
    if (!is_same) {
        findings.error("F06", 0,
                       "The file was changed while it was read. Wait until whoever writes it has "
                       "finished, then check it again.");
    }
}

Cursor::Cursor(const Source & source, Findings & findings, uint64_t offset, const char * code)
    : source_(source), findings_(findings), code_(code), window_(FIRST_WINDOW) {
    fill(offset);
}

void Cursor::fill(uint64_t offset) {
    window_start_ = offset;
    at_ = 0;
    n_window_ = source_.read(offset, window_.data(), window_.size());
}

void Cursor::require(uint64_t n_bytes) {
    if (n_bytes > left()) {
        findings_.fatal(code_, source_.size(),
                        "The file is cut off: it ends at byte " + std::to_string(source_.size()) +
                            " and needs at least " + std::to_string(n_bytes - left()) +
                            " more bytes. Download it again.");
    }
}

std::string_view Cursor::bytes(uint64_t n_bytes) {
    require(n_bytes);
    if (n_bytes > n_window_ - at_) {
        if (n_bytes > window_.size()) {
            window_.resize(std::min<uint64_t>(n_bytes, MAX_VIEW));
        }
        fill(offset());
        if (n_bytes > n_window_) {  // read again: what was there a moment ago is gone
            findings_.fatal("F06", offset(),
                            "The file became shorter, or the disk failed, while it was read. "
                            "Check it again.");
        }
    }
    const std::string_view view(window_.data() + at_, n_bytes);
    at_ += n_bytes;
    return view;
}

void Cursor::skip(uint64_t n_bytes) {
    require(n_bytes);
    if (n_bytes <= n_window_ - at_) {
        at_ += n_bytes;
    } else {
        fill(offset() + n_bytes);
    }
}

uint32_t Cursor::u32() {
    const std::string_view view = bytes(4);
    uint32_t value = 0;
    for (size_t i = 4; i-- > 0;) {
        value = (value << 8) | static_cast<uint8_t>(view[i]);
    }
    return value;
}

uint64_t Cursor::u64() {
    const std::string_view view = bytes(8);
    uint64_t value = 0;
    for (size_t i = 8; i-- > 0;) {
        value = (value << 8) | static_cast<uint8_t>(view[i]);
    }
    return value;
}

}  // namespace luci::gguf
