//! A large future made where it is to live.
//!
//! `Box::pin(future)` makes it on the stack and moves it, every byte of it, though nearly all of them mean nothing yet; for an
//! exchange that is more than ten kilobytes.

use std::future::Future;
use std::pin::Pin;

/// What `make` makes, on the heap.
pub fn boxed<F: Future>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    // The memory is there before the value is made, so the compiler may make it right there.
    Box::into_pin(Box::write(Box::new_uninit(), make()))
}
