//! The built-in voice profiles of the feature `speech` as JSON, for analyzers elsewhere: the web page of every endpoint has one.
//! Their structure is that of `speech::VoiceProfile`.

/// For sound of 14.5 kHz or more.
pub const WIDE: &str = include_str!("speech/profiles/wide.json");
/// For sound below 14.5 kHz.
pub const NARROW: &str = include_str!("speech/profiles/narrow.json");
