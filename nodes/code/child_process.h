// Child processes with pipes: owned descriptors, a spawn without a shell, frames on a stream.
#pragma once
#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rewardloom {

/// An owned file descriptor, -1 for none.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept;
  ~Descriptor() { close(); }
  int get() const { return number_; }
  void close();

 private:
  int number_ = -1;
};

struct Ends {
  Descriptor read;
  Descriptor write;
};
/// Both close on exec, with numbers from 10 on, so that a child's own low ones cannot collide with
/// them. Failure `process-start` where no descriptor is free.
Ends make_pipe();
Ends make_socket_pair();
void without_blocking(const Descriptor& descriptor);

/// Reads what is there, some `limit` bytes at most, and hands it on; false at the end of the
/// stream.
bool read_available(const Descriptor& from, std::size_t limit,
                    const std::function<void(std::string_view)>& take);

struct Launch {
  std::vector<std::string> words;                ///< the program, found along PATH, and its words
  std::vector<std::string> environment;          ///< NAME=value
  std::vector<std::pair<int, int>> descriptors;  ///< ours -> the child's 0, 1, ...; no others
};
/// Starts it in a session of its own with default signals. 0, or errno and no child.
int launch(Launch program, pid_t& child);
/// Waits for a child that is ending; its wait status.
int wait_for(pid_t child);

/// Appends a frame: a little-endian uint32 length and that many bytes. False, and nothing appended,
/// for a body of 4 GiB or more.
bool append_frame(std::string& stream, std::string_view body);

/// Takes frames out of the bytes of a stream.
class FrameReader {
 public:
  void append(std::string_view bytes) { bytes_.append(bytes); }
  std::optional<std::string> next();

 private:
  std::string bytes_;
  std::size_t begin_ = 0;
};

}  // namespace rewardloom
