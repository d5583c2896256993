//! deltavlm-benches
