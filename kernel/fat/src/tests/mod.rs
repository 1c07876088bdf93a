//! Tests on images that mkfs.fat makes, fsck.fat checks, and mtools read and write.

mod crashes;
mod damage;
mod everyday;
mod model;
mod support;
