//! Small examples.
