// Calls a function of libtorch whose exceptions must not reach Rust, where they would end the process.

#include <cstdint>

using Function = void (*)(std::uintptr_t, std::uintptr_t, std::uintptr_t, std::uintptr_t);

extern "C" int backcast_caught(Function function, std::uintptr_t a, std::uintptr_t b, std::uintptr_t c,
                               std::uintptr_t d) noexcept {
  try {
    function(a, b, c, d);
    return 0;
  } catch (...) {
    return 1;
  }
}
