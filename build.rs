//! Lets `cargo test` find libtorch where the build found it. The wheel carries no such path: Python loads libtorch first.

fn main() {
    if let Ok(lib) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg-tests=-Wl,-rpath,{lib}");
    }
}
