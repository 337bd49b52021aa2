// Where the validator's bytes come from. Files are read with pread, never mapped: a file that
// shrinks while it is read gives a short read, not a SIGBUS.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "luci/gguf/findings.h"

namespace luci::gguf {

class Source {
public:
    virtual ~Source() = default;
    uint64_t size() const { return size_; }
    // Reads up to `n_bytes` at `offset`; gives less only at the end. Thread-safe.
    virtual size_t read(uint64_t offset, void * into, size_t n_bytes) const = 0;

protected:
    uint64_t size_ = 0;
};

class BufferSource : public Source {
public:
    // Keeps a view: the bytes must outlive it.
    explicit BufferSource(std::string_view bytes) : bytes_(bytes) { size_ = bytes.size(); }
    size_t read(uint64_t offset, void * into, size_t n_bytes) const override;

private:
    std::string_view bytes_;
};

class FileSource : public Source {
public:
    // Opens a regular file. Throws Unreadable with a finding F01 to F05 where there is none that
    // can be read; a FIFO or a device is never waited for.
    FileSource(const std::string & path, Findings & findings);
    ~FileSource() override;
    FileSource(const FileSource &) = delete;
    FileSource & operator=(const FileSource &) = delete;

    size_t read(uint64_t offset, void * into, size_t n_bytes) const override;
    // Adds a finding F06 if the file is no longer what was opened.
    void check_unchanged(Findings & findings) const;

private:
    int fd_ = -1;
    int64_t changed_s_ = 0;
    int64_t changed_ns_ = 0;
};

// A position in a source that moves forward and never leaves it. What is cut off becomes the
// finding `code` (the end of the file) and an Unreadable.
class Cursor {
public:
    Cursor(const Source & source, Findings & findings, uint64_t offset, const char * code);

    uint64_t offset() const { return window_start_ + at_; }
    uint64_t left() const { return source_.size() - offset(); }
    uint32_t u32();
    uint64_t u64();
    // A view of the next bytes, valid until the next call. `n_bytes` is at most MAX_VIEW.
    std::string_view bytes(uint64_t n_bytes);
    void skip(uint64_t n_bytes);

    static constexpr size_t MAX_VIEW = 1 << 20;

private:
    void require(uint64_t n_bytes);
    void fill(uint64_t offset);

    const Source & source_;
    Findings & findings_;
    const char * code_;
    std::vector<char> window_;
    uint64_t window_start_ = 0;
    size_t n_window_ = 0;
    size_t at_ = 0;
};

}  // namespace luci::gguf
