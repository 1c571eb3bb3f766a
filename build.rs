//! Compiles the few lines of C++ in `caught.cpp`, and makes a stub of libtorch to link against: the names in
//! `src/libtorch/stable.rs` under libtorch's own file name. No torch is needed to build; Python loads the real one first.

use std::path::PathBuf;
use std::{env, fs};

const NAMES: &str = "src/libtorch/stable.rs";

fn main() {
    println!("cargo:rerun-if-changed=src/libtorch/caught.cpp");
    println!("cargo:rerun-if-changed={NAMES}");
    compile_caught();

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
    // The functions that tch calls are ours, whatever else the process has loaded under their names.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-Bsymbolic");
}

/// libtorch's exceptions and `std::cerr` are those of its C++ library, on Linux GNU's. Name that file itself: a linker like
/// zig's would put in another one.
fn compile_caught() {
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").file("src/libtorch/caught.cpp");
    if env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        build.cpp_link_stdlib(None);
        let found = build.get_compiler().to_command().arg("-print-file-name=libstdc++.so").output().expect("g++ runs");
        let library = String::from_utf8(found.stdout).expect("a path");
        let library = fs::canonicalize(library.trim()).expect("g++ has GNU's C++ library");
        println!("cargo:rustc-link-arg={}", library.display());
    }
    build.compile("backcast_caught");
}
