//! Aria's colours, written as sRGB and used as linear vertex colours.

/// A linear colour.
pub type Colour = [f64; 3];

/// One sRGB channel (0..=255) as linear light. A power of 2.2 is `const`-free but near enough; this is the exact curve.
fn linear(channel: f64) -> f64 {
    let c = channel / 255.0;
    if c <= 0.040_45 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
}

/// Turns an sRGB constant of this module into linear light.
pub fn to_linear(srgb: Colour) -> Colour {
    srgb.map(linear)
}

/// Mixes two sRGB colours as painters do, in sRGB.
pub fn mix(a: Colour, b: Colour, t: f64) -> Colour {
    let t = t.clamp(0.0, 1.0);
    [a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t]
}

/// An sRGB colour as a glTF vertex colour.
pub fn opaque(srgb: Colour) -> [f32; 4] {
    let c = to_linear(srgb);
    [c[0] as f32, c[1] as f32, c[2] as f32, 1.0]
}

/// Skin in the light.
pub const SKIN: Colour = [254.0, 197.0, 161.0];
/// Cheeks, nose, ears.
pub const BLUSH: Colour = [246.0, 128.0, 108.0];
/// Skin where light falls most: brow, bridge of the nose, top of the cheeks.
pub const GLOW: Colour = [255.0, 212.0, 178.0];
/// Thin skin under the eyes.
pub const COOL: Colour = [214.0, 152.0, 138.0];
/// Freckles.
pub const FRECKLE: Colour = [196.0, 118.0, 82.0];
/// Skin in folds and hollows.
pub const HIDDEN: Colour = [176.0, 84.0, 66.0];
/// Soft shadow on the skin.
pub const SHADE: Colour = [218.0, 134.0, 100.0];
/// The bowl of the ear.
pub const EAR_DEEP: Colour = [196.0, 112.0, 92.0];
/// The upper lid's fold.
pub const LID: Colour = [172.0, 98.0, 82.0];
/// The lids' edges.
pub const LID_EDGE: Colour = [120.0, 64.0, 56.0];
/// Lips.
pub const LIP: Colour = [214.0, 92.0, 88.0];
/// Light on the lips' fullest line.
pub const LIP_LIGHT: Colour = [246.0, 156.0, 142.0];
/// The line between the lips.
pub const LIP_SEAM: Colour = [142.0, 52.0, 54.0];
/// Inside the mouth.
pub const MOUTH: Colour = [78.0, 20.0, 26.0];
/// Gums.
pub const GUM: Colour = [198.0, 98.0, 100.0];
/// Teeth.
pub const TOOTH: Colour = [250.0, 245.0, 236.0];
/// Tongue.
pub const TONGUE: Colour = [226.0, 104.0, 108.0];
/// Deep shade of the tongue's groove.
pub const TONGUE_GROOVE: Colour = [176.0, 66.0, 74.0];
/// White of the eye.
pub const SCLERA: Colour = [250.0, 248.0, 246.0];
/// White of the eye in the shade of the lids.
pub const SCLERA_SHADE: Colour = [196.0, 178.0, 178.0];
/// White of the eye towards its corners.
pub const SCLERA_ROSE: Colour = [236.0, 200.0, 192.0];
/// The eye's inner corner, and the wet edge of the lower lid.
pub const CARUNCLE: Colour = [226.0, 138.0, 126.0];
/// Iris about the pupil.
pub const IRIS_CORE: Colour = [178.0, 190.0, 110.0];
/// Iris, lit lower part.
pub const IRIS_LIGHT: Colour = [104.0, 214.0, 192.0];
/// Iris.
pub const IRIS: Colour = [30.0, 136.0, 138.0];
/// Iris, upper part in shade.
pub const IRIS_DARK: Colour = [10.0, 62.0, 82.0];
/// The dark ring around the iris.
pub const LIMBUS: Colour = [10.0, 30.0, 42.0];
/// Pupil.
pub const PUPIL: Colour = [6.0, 8.0, 14.0];
/// Hair at the roots.
pub const HAIR_ROOT: Colour = [74.0, 34.0, 30.0];
/// Hair.
pub const HAIR: Colour = [128.0, 56.0, 36.0];
/// Hair at the tips.
pub const HAIR_TIP: Colour = [200.0, 104.0, 54.0];
/// Hair where the light lies on it.
pub const HAIR_SHINE: Colour = [236.0, 150.0, 92.0];
/// Brows.
pub const BROW: Colour = [92.0, 44.0, 36.0];
/// Lashes.
pub const LASH: Colour = [36.0, 18.0, 20.0];
/// Jacket.
pub const JACKET: Colour = [28.0, 92.0, 108.0];
/// Jacket, shaded.
pub const JACKET_DEEP: Colour = [16.0, 56.0, 72.0];
/// Lining and trim.
pub const TRIM: Colour = [246.0, 160.0, 66.0];
/// Teeth of the zip.
pub const BRASS: Colour = [224.0, 196.0, 140.0];
/// Shirt.
pub const SHIRT: Colour = [244.0, 238.0, 228.0];
/// Shirt, shaded.
pub const SHIRT_SHADE: Colour = [206.0, 192.0, 182.0];
/// Nostrils.
pub const NOSTRIL: Colour = [112.0, 52.0, 44.0];
