//! The `klines` command. What it does is in `klines::app`.

use std::process::ExitCode;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The allocator asks for huge pages, of which one written byte makes two megabytes resident: a third of what the
    // program holds, for nothing that it can be measured to do faster. A kernel that refuses only costs memory.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    klines::app::main()
}
