//! Checks of Rivet and of the file that is written.
