//! What `conv!` refuses, as rustc shows it: `refused/NAME.rs` and the message
//! `refused/NAME.stderr`.
//!
//! A package of its own because trybuild checks every dependency of the package it runs in once
//! more, and Cranelift is no help here.
