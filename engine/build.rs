//! Compiles the kernel's programs with clang, embeds them, and derives from their BTF what Rust and Python need of
//! bpf/abi.h. Whatever is missing or does not compile ends the build with the command that mends it.

#[path = "build/abi.rs"]
mod abi;
#[path = "build/clang.rs"]
mod clang;

use std::env;
use std::path::{Path, PathBuf};

fn main() {
    if let Err(why) = build() {
        // A panic would bury the reason under a backtrace hint.
        for line in why.lines() {
            println!("cargo::error={line}");
        }
        std::process::exit(1);
    }
}

fn build() -> Result<(), String> {
    let crate_dir = directory("CARGO_MANIFEST_DIR")?;
    let out = directory("OUT_DIR")?;
    let data_plane = crate_dir.join("../bpf");
    let own = crate_dir.join("bpf");
    let clang = clang::Clang::find(&[data_plane.clone(), own.clone(), directory("DEP_BPF_INCLUDE")?])?;

    for directory in [&data_plane, &own] {
        println!("cargo::rerun-if-changed={}", directory.display());
    }
    clang.compile(&own.join("abi.bpf.c"), &out.join("abi.bpf.o"))?;
    let rust = abi::generate(&out.join("abi.bpf.o"))?;
    write(&out.join("abi.rs"), &rust)?;

    for name in ["tcx", "xdp", "hold"] {
        clang.compile(&data_plane.join(format!("{name}.bpf.c")), &out.join(format!("{name}.bpf.o")))?;
    }
    // for kernels without may_goto
    clang.compile_with(&["-DNAMES_HELD"], &data_plane.join("tcx.bpf.c"), &out.join("tcx-held.bpf.o"))?;
    // for measurements
    for name in ["generator", "name_cost", "sink"] {
        clang.compile(&own.join(format!("{name}.bpf.c")), &out.join(format!("{name}.bpf.o")))?;
    }
    Ok(())
}

fn directory(variable: &str) -> Result<PathBuf, String> {
    env::var_os(variable).map(PathBuf::from).ok_or_else(|| format!("cargo did not set {variable}"))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
