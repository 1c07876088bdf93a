//! Constants of the kernel.
#![no_std]
