//! Messages of the three protocols, by upstream's names. Written by hand from the released descriptors of Hadoop 3.5; fields
//! that we neither read nor echo are left out, and unknown ones are skipped on decoding.

pub mod common;
pub mod yarn;
