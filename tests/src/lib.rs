//! deltavlm-tests
