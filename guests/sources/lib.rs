//! Nothing: cargo wants a target for a package with dependencies.
