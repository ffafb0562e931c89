//! One peer against another.
