//! Finds a clang that can make these programs, and runs it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Below 16 the verifier refuses what clang makes of the loops in parse.h.
const OLDEST: u32 = 16;
const CANDIDATES: [&str; 5] = ["clang-19", "clang-18", "clang-17", "clang-16", "clang"];

pub struct Clang {
    program: String,
    include: Vec<PathBuf>,
}

impl Clang {
    /// The one that CLANG names, else the newest.
    pub fn find(include: &[PathBuf]) -> Result<Self, String> {
        println!("cargo::rerun-if-env-changed=CLANG");
        let mut include = include.to_vec();
        include.extend(multiarch());
        if let Ok(program) = env::var("CLANG") {
            return match version(&program) {
                Some(version) if version >= OLDEST => Ok(Clang { program, include }),
                Some(version) => {
                    Err(format!("CLANG={program} is clang {version}; {OLDEST} or later is needed"))
                }
                None => Err(format!("CLANG={program} does not run")),
            };
        }
        let program =
            CANDIDATES.iter().find(|program| version(program).is_some_and(|version| version >= OLDEST));
        match program {
            Some(program) => Ok(Clang { program: (*program).to_owned(), include }),
            None => Err(format!(
                "clang {OLDEST} or later is needed to compile bpf/: apt-get install clang-19 (Debian 13, Ubuntu 24.04: \
                 clang; Debian 12: clang-16), or name one in CLANG"
            )),
        }
    }

    pub fn compile(&self, source: &Path, object: &Path) -> Result<(), String> {
        self.compile_with(&[], source, object)
    }

    pub fn compile_with(&self, flags: &[&str], source: &Path, object: &Path) -> Result<(), String> {
        let mut command = Command::new(&self.program);
        command.args(flags);
        command.args(["-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-Wextra", "-Werror"]);
        for directory in &self.include {
            command.arg("-isystem").arg(directory);
        }
        let output = command
            .arg("-c")
            .arg(source)
            .arg("-o")
            .arg(object)
            .output()
            .map_err(|error| format!("{}: {error}", self.program))?;
        if !output.status.success() {
            let mut report = format!("{} cannot compile {}:\n", self.program, source.display());
            report += &String::from_utf8_lossy(&output.stderr);
            if report.contains("asm/types.h") {
                report += "\nthe kernel's headers are missing: apt-get install linux-libc-dev";
            }
            return Err(report);
        }
        // Line information of programs stays in .BTF.ext; DWARF would double the wheel.
        let strip = self.program.replace("clang", "llvm-strip");
        let _ = Command::new(strip).arg("-g").arg(object).status();
        Ok(())
    }
}

/// `-target bpf` forgets where Debian keeps asm/types.h.
fn multiarch() -> Option<PathBuf> {
    let triple = format!("{}-linux-gnu", env::var("CARGO_CFG_TARGET_ARCH").ok()?);
    let directory = Path::new("/usr/include").join(triple);
    directory.is_dir().then_some(directory)
}

/// Major version: what __clang_major__ is.
fn version(program: &str) -> Option<u32> {
    let output = Command::new(program).args(["-E", "-dM", "-x", "c", "/dev/null"]).output().ok()?;
    let macros = String::from_utf8(output.stdout).ok()?;
    macros.lines().find_map(|line| line.strip_prefix("#define __clang_major__ "))?.trim().parse().ok()
}
