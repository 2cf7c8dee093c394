//! TensorFlow ops over the ring, in TensorFlow's C kernel API alone: no headers, no C++, no tie to one version's ABI.
//!
//! `YarnMlRingNext` yields the next batch of this process's ring, its fixed-size columns without a copy. `YarnMlRingAck` says
//! that a batch was trained on. Symbols come from the `libtensorflow_framework.so.2` that is in the process already.
//!
//! No panic crosses the boundary: whatever fails becomes a TensorFlow status.

#![allow(unsafe_code)]
#![deny(unsafe_op_in_unsafe_fn)]

mod api;
mod batch;
mod kernels;
mod rings;

/// Runs when the library is loaded: `tf.load_op_library` asks for nothing but that the ops are registered then.
#[used]
#[unsafe(link_section = ".init_array")]
static REGISTER: extern "C" fn() = kernels::register;
