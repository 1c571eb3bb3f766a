// What only C++ can do: catch libtorch's exceptions, which would end the process in Rust, and read the reasons of failures
// that libtorch before 2.13 only logs to std::cerr.

#include <cstdint>
#include <iostream>
#include <new>
#include <streambuf>
#include <string>

namespace {

using Function = void (*)(std::uintptr_t, std::uintptr_t, std::uintptr_t, std::uintptr_t);

constexpr char kMark[] = "Exception in aoti_torch: ";

thread_local bool listening = false;
thread_local std::string heard;

// Passes everything on to the buffer that std::cerr had, except what libtorch logs about a failure on a thread that listens:
// the caller gets that as an error.
class Ear : public std::streambuf {
 public:
  explicit Ear(std::streambuf* before) : before_(before) {}

 protected:
  int_type overflow(int_type c) override {
    return traits_type::eq_int_type(c, traits_type::eof()) ? traits_type::not_eof(c)
                                                           : before_->sputc(traits_type::to_char_type(c));
  }

  std::streamsize xsputn(const char* text, std::streamsize size) override {
    if (listening) {
      const std::string line(text, static_cast<std::size_t>(size));
      const auto at = line.find(kMark);
      if (at != std::string::npos) {
        heard = line.substr(at + sizeof(kMark) - 1);
        return size;
      }
    }
    return before_->sputn(text, size);
  }

  int sync() override { return before_->pubsync(); }

 private:
  std::streambuf* before_;
};

}  // namespace

extern "C" {

int backcast_caught(Function function, std::uintptr_t a, std::uintptr_t b, std::uintptr_t c,
                    std::uintptr_t d) noexcept {
  try {
    function(a, b, c, d);
    return 0;
  } catch (...) {
    return 1;
  }
}

std::uint64_t* backcast_slot() noexcept { return new (std::nothrow) std::uint64_t; }

void backcast_install() noexcept {
  // Never deleted: std::cerr is used until the process ends.
  static Ear* ear = new Ear(std::cerr.rdbuf());
  std::cerr.rdbuf(ear);
}

void backcast_listen(int on) noexcept {
  listening = on != 0;
  if (on != 0 && !heard.empty()) {
    heard.clear();
  }
}

const char* backcast_heard() noexcept { return heard.c_str(); }
}
