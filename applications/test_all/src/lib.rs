//! Runs every in-kernel test application and sums up their results.
#![no_std]
