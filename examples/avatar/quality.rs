//! How finely the stage is drawn: with everything, or as a processor can draw it several times a second.

use clap::ValueEnum;

/// What the command line asks for.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QualityArg {
    /// Without multisampling and shadows, with materials that are quick to work out, models at their second level of detail.
    Low,
    /// Everything.
    High,
    /// Low in a window that a software renderer draws, high otherwise.
    #[default]
    Auto,
}

/// How it is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quality {
    /// See [`QualityArg::Low`].
    Low,
    /// See [`QualityArg::High`].
    High,
}

impl QualityArg {
    /// What it comes to. A single picture may take its time, whatever draws it.
    pub fn resolve(self, software: bool, windowed: bool) -> Quality {
        match self {
            Self::Low => Quality::Low,
            Self::Auto if software && windowed => Quality::Low,
            Self::Auto | Self::High => Quality::High,
        }
    }
}

/// Parts of the names of software renderers: Mesa's, Google's, Microsoft's, Apple's.
const SOFTWARE: [&str; 7] = [
    "llvmpipe",
    "lavapipe",
    "softpipe",
    "swiftshader",
    "microsoft basic render",
    "software renderer",
    "software rasterizer",
];

/// Whether an adapter of this type and of these names (its own, its driver's) draws on the processor. Some drivers report
/// another type than `Cpu`, OpenGL's mostly.
pub fn is_software(device_type: &str, names: &[&str]) -> bool {
    let named = |name: &&str| {
        let name = name.to_lowercase();
        SOFTWARE.iter().any(|software| name.contains(software))
    };
    device_type == "Cpu" || names.iter().any(named)
}
