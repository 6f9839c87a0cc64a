//! The program: everything is in the library.

/// Gives back what a storm took, at no cost per request; decision 0017 has the measurements. How long it keeps what is free is
/// compiled in (`.cargo/config.toml`).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    tollgate::cli::main()
}
