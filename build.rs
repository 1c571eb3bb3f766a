//! Compiles the few lines of C++ in `caught.cpp`, and makes a stub of libtorch to link against: the names in
//! `src/libtorch/stable.rs` under libtorch's own file name. No torch is needed to build; Python loads the real one first.

use std::path::PathBuf;
use std::{env, fs};

const NAMES: &str = "src/libtorch/stable.rs";

fn main() {
    println!("cargo:rerun-if-changed=src/libtorch/caught.cpp");
    println!("cargo:rerun-if-changed={NAMES}");
    cc::Build::new().cpp(true).std("c++17").file("src/libtorch/caught.cpp").compile("backcast_caught");

    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let names = fs::read_to_string(NAMES).expect("the list of names");
    let names = names.lines().filter_map(|line| line.trim().strip_prefix("pub fn ")?.split_once('('));
    let source: Vec<String> = names.map(|(name, _)| format!("void {name}(void) {{}}\n")).collect();
    fs::write(out.join("stub.c"), source.concat()).expect("room for a file");
    // Named apart: `cargo test` looks for libraries in this folder first, and must find the real libtorch.
    let stub = cc::Build::new()
        .get_compiler()
        .to_command()
        .args(["-w", "-shared", "-nostdlib", "-Wl,-soname,libtorch_cpu.so", "-o"])
        .args([out.join("libbackcast_stub.so"), out.join("stub.c")])
        .status();
    assert!(stub.is_ok_and(|status| status.success()), "the C compiler made no stub of libtorch");
    println!("cargo:rustc-link-search=native={}", out.display());
    println!("cargo:rustc-link-lib=dylib=backcast_stub");
}
