//! Compiles the few lines of C++ that keep libtorch's exceptions from Rust, and lets `cargo test` find libtorch where the
//! build found it. The wheel carries no such path: Python loads libtorch first.

fn main() {
    println!("cargo:rerun-if-changed=src/libtorch/caught.cpp");
    cc::Build::new().cpp(true).std("c++17").file("src/libtorch/caught.cpp").compile("backcast_caught");
    if let Ok(lib) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg-tests=-Wl,-rpath,{lib}");
    }
}
