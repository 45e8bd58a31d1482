//! Links the unwinder statically where that is possible: a shared library less to find, map
//! and relocate at every start of a program that lives for a few milliseconds.
//!
//! GCC ships it beside the shared one. Where the linker's driver has none, or resolves
//! archives strictly from left to right, the shared one is linked, as for any Rust program.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=RUSTC_LINKER");
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    let gnu_linux = is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu");
    let native = std::env::var("HOST") == std::env::var("TARGET");
    if !gnu_linux || !native {
        return;
    }
    let driver = std::env::var("RUSTC_LINKER").unwrap_or_else(|_| "cc".to_owned());
    let Ok(answer) = Command::new(driver).arg("-print-file-name=libgcc_eh.a").output() else { return };
    // A file that it does not have is answered by the name alone.
    let path = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
    if Path::new(&path).is_absolute() && Path::new(&path).is_file() {
        println!("cargo:rustc-link-lib=static:-bundle=gcc_eh");
    }
}
