//! The `klines` command. What it does is in `klines::app`.

use std::process::ExitCode;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The allocator uses huge pages, in which one written byte makes two megabytes resident. That is a third of the
    // program's memory, without a measurable gain in speed. If the kernel refuses, the program only uses more memory.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    klines::app::main()
}
